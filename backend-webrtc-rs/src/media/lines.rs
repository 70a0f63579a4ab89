//! M-lines of media: core says which there are, in which direction; here the library's transceivers become those.
//!
//! Their tracks send nothing, see [`tap`](super::tap).

use crate::{
    convert,
    error::{ours, unexpected},
};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use std::{collections::HashSet, sync::Arc};
use visavis_core::{Direction, MLine, Result, Sdp};
use webrtc::{
    media_stream::{MediaStreamTrack, track_local::static_rtp::TrackLocalStaticRTP},
    peer_connection::PeerConnection,
    rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit, RtpTransceiver},
};

/// The library's transceivers in the order of their m-lines.
pub(crate) async fn transceivers(
    pc: &dyn PeerConnection,
    operation: &'static str,
) -> Result<Vec<Transceiver>> {
    let mut transceivers = Vec::new();
    for handle in pc.get_transceivers().await {
        transceivers.push(Transceiver {
            mid: handle.mid().await.map_err(ours(operation))?,
            handle,
        });
    }
    transceivers.sort_unstable_by_key(|t| t.handle.id());
    Ok(transceivers)
}

/// Makes the library's transceivers those of `want`, adding what is new.
pub(crate) async fn prepare(pc: &dyn PeerConnection, want: &[MLine]) -> Result<()> {
    let old: HashSet<&str> = want.iter().filter_map(|line| line.mid.as_deref()).collect();
    let existing = transceivers(pc, "make_offer").await?;
    let mut targets = Vec::new();
    for line in want {
        if let (Some(mid), Some(kind)) = (&line.mid, convert::codec_kind(line.kind)) {
            targets.push((find(&existing, mid, "make_offer")?, kind, line.direction));
        }
    }
    // Those of a dropped offer come first in the next one, whatever is asked for.
    let mut left = existing
        .iter()
        .filter(|t| t.mid.as_deref().is_none_or(|mid| !old.contains(mid)));
    for line in want.iter().filter(|line| line.mid.is_none()) {
        let Some(kind) = convert::codec_kind(line.kind) else {
            continue;
        };
        match left.next() {
            Some(transceiver) => targets.push((Arc::clone(&transceiver.handle), kind, line.direction)),
            None => add_transceiver(pc, kind, line.direction).await?,
        }
    }
    align(pc, &targets, existing.len(), "make_offer").await
}

async fn add_transceiver(pc: &dyn PeerConnection, kind: RtpCodecKind, direction: Direction) -> Result<()> {
    let failed = ours("make_offer");
    let wanted = convert::direction(direction);
    let init = RTCRtpTransceiverInit {
        // The library makes none that is inactive.
        direction: match direction {
            Direction::Inactive => RTCRtpTransceiverDirection::Recvonly,
            _ => wanted,
        },
        streams: Vec::new(),
        // One encoding of any codec; the library gives it an SSRC.
        send_encodings: if direction.sends() {
            vec![rtc_default()]
        } else {
            Vec::new()
        },
    };
    let transceiver = pc
        .add_transceiver_from_kind(kind, Some(init))
        .await
        .map_err(failed)?;
    if direction == Direction::Inactive {
        transceiver
            .set_direction(wanted)
            .await
            .map_err(ours("make_offer"))?;
    }
    Ok(())
}

/// Gives each transceiver its direction, and a sender where it is to send.
pub(crate) async fn align(
    pc: &dyn PeerConnection,
    targets: &[(Arc<dyn RtpTransceiver>, RtpCodecKind, Direction)],
    existing: usize,
    operation: &'static str,
) -> Result<()> {
    for (transceiver, kind, direction) in targets {
        // The library attaches a track to the first transceiver of its kind that has none, so earlier ones may
        // get a sender that they do not use: their direction, set below, says that.
        while direction.sends() && transceiver.sender().await.map_err(ours(operation))?.is_none() {
            let sender = pc
                .add_track(Arc::new(silent_track(*kind)))
                .await
                .map_err(ours(operation))?;
            let attached = transceivers(pc, operation).await?.len() == existing;
            if !attached {
                let _ = pc.remove_track(&sender).await;
                return Err(unexpected(
                    operation,
                    "webrtc-rs cannot send on this m-line any more",
                ));
            }
        }
    }
    for (transceiver, _, direction) in targets {
        let wanted = convert::direction(*direction);
        if transceiver.direction().await.map_err(ours(operation))? != wanted {
            transceiver.set_direction(wanted).await.map_err(ours(operation))?;
        }
    }
    Ok(())
}

/// A transceiver and its mid.
pub(crate) struct Transceiver {
    mid: Option<String>,
    handle: Arc<dyn RtpTransceiver>,
}

/// The one of a mid.
pub(crate) fn find(
    transceivers: &[Transceiver],
    mid: &str,
    operation: &'static str,
) -> Result<Arc<dyn RtpTransceiver>> {
    transceivers
        .iter()
        .find(|t| t.mid.as_deref() == Some(mid))
        .map(|t| Arc::clone(&t.handle))
        .ok_or_else(|| unexpected(operation, format!("webrtc-rs has no transceiver for mid {mid}")))
}

/// A default of a type that has no name in `webrtc`.
fn rtc_default<T: Default>() -> T {
    T::default()
}

/// A track without a source: it makes an m-line that sends.
fn silent_track(kind: RtpCodecKind) -> TrackLocalStaticRTP {
    let id = format!("visavis-{kind}");
    TrackLocalStaticRTP::new(MediaStreamTrack::new(
        id.clone(),
        id.clone(),
        id,
        kind,
        vec![rtc_default()],
    ))
}

/// What the library wrote must be what was asked for.
pub(crate) fn check(sdp: &Sdp, want: &[MLine]) -> Result<()> {
    let same = sdp.sections().len() == want.len()
        && sdp.sections().zip(want).all(|(section, line)| {
            section.kind() == Some(line.kind)
                && line.mid.as_deref().is_none_or(|mid| section.mid() == Some(mid))
        });
    if same {
        Ok(())
    } else {
        let wrote: Vec<_> = sdp
            .sections()
            .map(|s| s.kind().map_or_else(|| "?".into(), |k| k.to_string()))
            .collect();
        Err(unexpected(
            "make_offer",
            format!(
                "webrtc-rs cannot write these m-lines in this order; it wrote {}",
                wrote.join(", ")
            ),
        ))
    }
}
