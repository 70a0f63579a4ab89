//! Offers and answers.

use crate::{channels::Channels, convert, driven::Driven, error, formats::Formats};
use str0m::{
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    media::{self, Mid},
};
use visavis_core::{Direction, Error, MLine, MediaKind, Result, Sdp, TrackPort};

/// What was negotiated, and the offer that is open.
#[derive(Debug, Default)]
pub(crate) struct Negotiation {
    offer: Option<Offer>,
    /// The local description in force.
    local: Option<Sdp>,
    /// The remote ICE credentials in force.
    remote: Option<(String, String)>,
    /// What the next commit has to do about candidates.
    announce: Announce,
    formats: Formats,
}

/// What a commit does about local candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Announce {
    /// They are known to the peer.
    Nothing,
    /// The first description of a peer.
    #[default]
    First,
    /// ICE restarts: addresses may have changed.
    Again,
}

#[derive(Debug)]
struct Offer {
    sdp: Sdp,
    /// `None` for an offer that changes nothing, of which str0m does not know.
    pending: Option<SdpPendingOffer>,
    /// str0m sets directions before the offer is accepted; these were before.
    undo: Vec<(Mid, media::Direction)>,
    tracks: Vec<(Mid, TrackPort)>,
    announce_before: Announce,
}

/// What an applied description changed.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The remote credentials are new: ICE starts, or starts again.
    pub(crate) ice_starts: bool,
    /// The tracks of the m-lines from now on.
    pub(crate) tracks: Vec<(Mid, TrackPort)>,
}

impl Negotiation {
    /// Writes an offer. See [`Engine::make_offer`](visavis_core::Engine::make_offer).
    pub(crate) fn make_offer(
        &mut self,
        driven: &mut Driven,
        channels: &mut Channels,
        want: &[MLine],
        ice_restart: bool,
    ) -> Result<Sdp> {
        self.discard_offer(driven);
        // Before the first answer there is nothing to restart, and str0m would offer credentials that it never uses.
        let ice_restart = ice_restart && self.remote.is_some();
        let carrier = channels.carrier();
        let stream = carrier.negotiated.unwrap_or_default();
        let mut undo = Vec::new();
        let mut carried = None;
        let made = driven.with(|rtc| {
            let before: Vec<_> = want
                .iter()
                .filter_map(|line| line.mid.as_deref())
                .filter_map(|mid| rtc.media(mid.into()))
                .map(|media| (media.mid(), media.direction()))
                .collect();
            let mut api = rtc.sdp_api();
            // The order of the changes is the order of the new m-lines.
            for line in want {
                let direction = convert::direction(line.direction);
                match (line.mid.as_deref().map(Mid::from), line.kind) {
                    (Some(_), MediaKind::Application) => {}
                    (Some(mid), _) => {
                        if let Some(changed) = before.iter().find(|(m, d)| *m == mid && *d != direction) {
                            undo.push(*changed);
                            api.set_direction(mid, direction);
                        }
                    }
                    (None, MediaKind::Application) => {
                        carried = Some(api.add_channel_with_config(carrier.clone()));
                    }
                    (None, kind) => {
                        let kind = match kind {
                            MediaKind::Audio => media::MediaKind::Audio,
                            _ => media::MediaKind::Video,
                        };
                        api.add_media(kind, direction, None, None, None);
                    }
                }
            }
            if ice_restart {
                api.ice_restart(true);
            }
            api.apply()
        });
        if let Some(id) = carried {
            channels.add_carrier(id, stream);
        }
        let (sdp, pending) = match made {
            Some((offer, pending)) => (parse("create_offer", &offer.to_sdp_string())?, Some(pending)),
            None => match &self.local {
                Some(local) => (convert::repeated(local, want)?, None),
                None => {
                    return Err(Error::invalid_input(
                        "create_offer",
                        "there is nothing to offer; add a channel or a track",
                    ));
                }
            },
        };
        let announce_before = self.announce;
        if ice_restart {
            self.announce = Announce::Again;
        }
        self.offer = Some(Offer {
            tracks: tracks(&sdp, want),
            sdp: sdp.clone(),
            pending,
            undo,
            announce_before,
        });
        Ok(sdp)
    }

    /// Forgets the open offer. str0m keeps nothing of it but a carrier.
    pub(crate) fn discard_offer(&mut self, driven: &mut Driven) {
        let Some(offer) = self.offer.take() else {
            return;
        };
        undo(driven, offer.undo);
        // A first offer may have announced candidates to a peer that dropped them with it.
        self.announce = if self.remote.is_none() {
            Announce::First
        } else {
            offer.announce_before
        };
    }

    /// Applies the answer to the open offer.
    pub(crate) fn apply_answer(
        &mut self,
        driven: &mut Driven,
        channels: &mut Channels,
        answer: &Sdp,
    ) -> Result<Applied> {
        const OPERATION: &str = "apply_answer";
        // str0m's own parser is stricter than core's; until it is satisfied the offer stays open for a good answer.
        let parsed = SdpAnswer::from_sdp_string(&convert::explicit(answer).to_string())
            .map_err(|e| error::convert(OPERATION, e.into()))?;
        let formats = self.formats.with(OPERATION, answer)?;
        let Some(offer) = self.offer.take() else {
            let message = "no offer is open, or a refused answer used it up; roll back and offer again";
            return Err(Error::invalid_input(OPERATION, message));
        };
        if let Some(pending) = offer.pending {
            if let Err(e) = driven.with(|rtc| rtc.sdp_api().accept_answer(pending, parsed)) {
                undo(driven, offer.undo);
                return Err(error::convert(OPERATION, e));
            }
        } else {
            // str0m wrote no offer; all that such an answer can change is directions, and they take effect at once.
            driven.with(|rtc| {
                let mut api = rtc.sdp_api();
                for section in answer
                    .sections()
                    .filter(|s| s.kind() != Some(MediaKind::Application))
                {
                    if let Some(mid) = section.mid() {
                        api.set_direction(mid.into(), convert::direction(section.direction().reversed()));
                    }
                }
            });
        }
        self.local = Some(offer.sdp);
        self.formats = formats;
        Ok(self.applied(driven, channels, answer, offer.tracks))
    }

    /// Applies an offer and answers it. See [`Engine::answer`](visavis_core::Engine::answer).
    pub(crate) fn answer(
        &mut self,
        driven: &mut Driven,
        channels: &mut Channels,
        offer: &Sdp,
        want: &[MLine],
    ) -> Result<(Sdp, Applied)> {
        const OPERATION: &str = "create_answer";
        self.discard_offer(driven);
        let text = convert::narrowed(offer, want)?.to_string();
        let parsed = SdpOffer::from_sdp_string(&text).map_err(|e| error::convert(OPERATION, e.into()))?;
        self.formats = self.formats.with(OPERATION, offer)?;
        let reversed = reopen(driven, want);
        let answer = match driven.with(|rtc| rtc.sdp_api().accept_offer(parsed)) {
            Ok(answer) => answer,
            Err(e) => {
                undo(driven, reversed);
                return Err(error::convert(OPERATION, e));
            }
        };
        let mut sdp = parse(OPERATION, &answer.to_sdp_string())?;
        // str0m answers with all that was ever negotiated for the m-line.
        for (index, section) in offer.sections().enumerate() {
            sdp.keep_codecs(index, &section.codecs());
        }
        let restarts = self.remote.is_some();
        let applied = self.applied(driven, channels, offer, tracks(offer, want));
        if restarts && applied.ice_starts {
            self.announce = Announce::Again;
        }
        self.local = Some(sdp.clone());
        Ok((sdp, applied))
    }

    /// What the commit of a description has to do about candidates.
    pub(crate) fn take_announce(&mut self) -> Announce {
        std::mem::replace(&mut self.announce, Announce::Nothing)
    }

    /// Whether a remote description was ever applied.
    pub(crate) fn is_negotiated(&self) -> bool {
        self.remote.is_some()
    }

    fn applied(
        &mut self,
        driven: &mut Driven,
        channels: &mut Channels,
        remote: &Sdp,
        tracks: Vec<(Mid, TrackPort)>,
    ) -> Applied {
        let is_open = |s: visavis_core::sdp::MediaSection<'_>| {
            s.kind() == Some(MediaKind::Application) && !s.is_rejected()
        };
        if remote.sections().any(is_open) {
            channels.start(driven);
        }
        let credentials = remote
            .ice_credentials()
            .map(|(u, p)| (u.to_owned(), p.to_owned()));
        let ice_starts = self.remote != credentials;
        self.remote = credentials;
        Applied { ice_starts, tracks }
    }
}

/// The port of each m-line that has one.
fn tracks(sdp: &Sdp, want: &[MLine]) -> Vec<(Mid, TrackPort)> {
    let lines = sdp.sections().zip(want);
    lines
        .filter_map(|(section, line)| Some((Mid::from(section.mid()?), line.track.clone()?)))
        .collect()
}

/// str0m does not let a remote offer make an inactive m-line of ours send only; so it sends before the offer comes.
/// Returns what was before.
fn reopen(driven: &mut Driven, want: &[MLine]) -> Vec<(Mid, media::Direction)> {
    let sends_only = want.iter().filter(|line| line.direction == Direction::SendOnly);
    let mids = sends_only.filter_map(|line| line.mid.as_deref().map(Mid::from));
    let inactive = |mid: &Mid| {
        let media = driven.peek().media(*mid);
        media.is_some_and(|m| !m.disabled() && m.direction() == media::Direction::Inactive)
    };
    let mids: Vec<_> = mids.filter(inactive).collect();
    let to = |direction| mids.iter().map(|mid| (*mid, direction)).collect();
    undo(driven, to(media::Direction::SendOnly));
    to(media::Direction::Inactive)
}

fn undo(driven: &mut Driven, directions: Vec<(Mid, media::Direction)>) {
    if directions.is_empty() {
        return;
    }
    driven.with(|rtc| {
        let mut api = rtc.sdp_api();
        for (mid, direction) in directions {
            api.set_direction(mid, direction);
        }
    });
}

/// str0m's text without its candidates, which trickle.
fn parse(operation: &'static str, text: &str) -> Result<Sdp> {
    let mut sdp: Sdp = text.parse().map_err(|e: Error| {
        Error::new(
            visavis_core::ErrorKind::Stack,
            operation,
            "str0m wrote SDP that does not parse",
        )
        .with_source(e)
    })?;
    sdp.take_candidates();
    Ok(sdp)
}
