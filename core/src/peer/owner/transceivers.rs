//! What an owner does about transceivers: hands them out, changes them, counts their frames.

use super::Owner;
use crate::{
    Codec, Direction, Error, Result, StatsReport, TrackSender, TrackStats, Transceiver,
    peer::{TransceiverState, jsep::TransceiverId},
};
use std::sync::Arc;

impl Owner {
    pub(super) async fn stats(&mut self) -> StatsReport {
        let transport = self.engine.stats().await;
        let rtp = |mid: Option<&str>| {
            let counts = transport.rtp.iter().find(|(m, _)| Some(m.as_str()) == mid);
            counts.map(|c| c.1).unwrap_or_default()
        };
        let tracks = self.jsep.transceivers.iter().map(|slot| TrackStats {
            mid: slot.mid.clone(),
            kind: slot.kind,
            codec: TrackSender(Arc::clone(&slot.track)).codec(),
            outbound: slot.track.outbound(),
            inbound: slot.track.inbound(),
            rtp: rtp(slot.mid.as_deref()),
        });
        let channels = self.channels.iter().map(|c| (c.label().to_owned(), c.stats()));
        StatsReport {
            tracks: tracks.collect(),
            channels: channels.collect(),
            transport,
        }
    }

    pub(super) fn transceiver(&mut self, id: TransceiverId) -> Result<Transceiver> {
        let slot = self.jsep.slot(id).ok_or_else(|| removed("transceiver"))?;
        Ok(Transceiver::new(id, Arc::clone(&slot.track), self.ops.clone()))
    }

    pub(super) fn transceiver_state(&mut self, id: TransceiverId) -> Result<TransceiverState> {
        let slot = self.jsep.slot(id).ok_or_else(|| removed("transceiver_state"))?;
        Ok(TransceiverState {
            mid: slot.mid.clone(),
            direction: slot.direction,
            current_direction: slot.current,
            codecs: slot.codecs.clone(),
            stopped: slot.stopped,
        })
    }

    pub(super) fn set_direction(&mut self, id: TransceiverId, direction: Option<Direction>) -> Result<()> {
        let slot = self.jsep.slot(id).ok_or_else(|| removed("set_direction"))?;
        match direction {
            Some(_) if slot.stopped => Err(Error::invalid_state(
                "set_direction",
                "stopped",
                "add another transceiver",
            )),
            Some(direction) => {
                slot.direction = direction;
                Ok(())
            }
            None => {
                slot.stopped = true;
                slot.track.end();
                Ok(())
            }
        }
    }

    pub(super) fn set_codecs(&mut self, id: TransceiverId, codecs: &[Codec]) -> Result<()> {
        const OPERATION: &str = "set_codec_preferences";
        let slot = self.jsep.slot(id).ok_or_else(|| removed(OPERATION))?;
        if codecs.is_empty() || codecs.iter().any(|c| c.kind() != slot.kind) {
            return Err(Error::invalid_input(
                OPERATION,
                format!("give one codec or more, of kind {}", slot.kind),
            ));
        }
        codecs.clone_into(&mut slot.codecs);
        Ok(())
    }
}

fn removed(operation: &'static str) -> Error {
    Error::invalid_state(
        operation,
        "removed",
        "it was stopped and its m-line is in use again, or the offer that made it was rolled back",
    )
}
