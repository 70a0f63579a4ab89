//! The JSEP state machine (RFC 9429, W3C WebRTC §4.4), without I/O: what the state allows, which m-lines an offer
//! or an answer has, what a rollback takes back, and whether negotiation is needed.

use super::SignalingState;
use crate::{
    Codec, Direction, Error, MLine, MediaKind, Result, Sdp, SdpType, TrackPort,
    channel::Hub,
    sdp::{MAX_M_LINES, MediaSection},
    track,
};
use std::sync::Arc;

/// Identifies a transceiver within its peer connection.
pub(crate) type TransceiverId = u64;

/// A transceiver as JSEP sees it.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) id: TransceiverId,
    pub(crate) kind: MediaKind,
    pub(crate) mid: Option<String>,
    /// What the application wants.
    pub(crate) direction: Direction,
    /// What was negotiated.
    pub(crate) current: Option<Direction>,
    /// What the application takes, best first.
    pub(crate) codecs: Vec<Codec>,
    /// What was negotiated to be sent.
    pub(crate) codec: Option<Codec>,
    pub(crate) track: Arc<track::Shared>,
    /// Made by `add_track`, so that an m-line of a remote offer may take it (RFC 9429 §5.10).
    associates: bool,
    /// What the remote offer that we last answered left open; everything where we offered.
    cap: Direction,
    /// What our last description said.
    said: Option<Direction>,
    /// Whether a `track` event has said that the remote peer sends (W3C `[[FiredDirection]]`), now and in the last
    /// stable state.
    fired: bool,
    stable_fired: bool,
    /// Made by the remote offer that is pending, so a rollback removes it.
    from_pending_offer: bool,
    pub(crate) stopped: bool,
}

/// An m-line of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Transceiver(TransceiverId),
    Application,
}

#[derive(Debug)]
pub(crate) struct Jsep {
    hub: Arc<Hub>,
    pub(crate) state: SignalingState,
    pub(crate) transceivers: Vec<Slot>,
    next_id: TransceiverId,
    lines: Vec<Line>,
    /// How many of `lines` were there when the state was last stable.
    stable_lines: usize,
    pub(crate) wants_application: bool,
    application_mid: Option<String>,
    /// The local ICE credentials that the next offer or answer is to replace (W3C `[[LocalIceCredentialsToReplace]]`).
    to_replace: Vec<String>,
    /// What `create_offer` or `create_answer` returned and was not set yet.
    pub(crate) created: Option<(SdpType, Sdp)>,
    pub(crate) current_local: Option<(SdpType, Sdp)>,
    pub(crate) pending_local: Option<(SdpType, Sdp)>,
    pub(crate) current_remote: Option<(SdpType, Sdp)>,
    pub(crate) pending_remote: Option<(SdpType, Sdp)>,
}

impl Jsep {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            state: SignalingState::Stable,
            transceivers: Vec::new(),
            next_id: 0,
            lines: Vec::new(),
            stable_lines: 0,
            wants_application: false,
            application_mid: None,
            to_replace: Vec::new(),
            created: None,
            current_local: None,
            pending_local: None,
            current_remote: None,
            pending_remote: None,
        }
    }

    pub(crate) fn local(&self) -> Option<&(SdpType, Sdp)> {
        self.pending_local.as_ref().or(self.current_local.as_ref())
    }

    pub(crate) fn remote(&self) -> Option<&(SdpType, Sdp)> {
        self.pending_remote.as_ref().or(self.current_remote.as_ref())
    }

    /// Fails unless the state is one of `allowed`.
    pub(crate) fn require(
        &self,
        operation: &'static str,
        allowed: &[SignalingState],
        needs: &'static str,
    ) -> Result<()> {
        if allowed.contains(&self.state) {
            Ok(())
        } else {
            Err(Error::invalid_state(operation, self.state, needs))
        }
    }

    pub(crate) fn add_transceiver(&mut self, kind: MediaKind, direction: Direction) -> Result<TransceiverId> {
        if kind == MediaKind::Application {
            return Err(Error::invalid_input(
                "add_transceiver",
                "a transceiver is audio or video; data has channels",
            ));
        }
        if let Some(id) = self.take_over(kind, direction) {
            return Ok(id);
        }
        if self.transceivers.len() + 1 >= MAX_M_LINES {
            return Err(Error::new(
                crate::ErrorKind::LimitExceeded,
                "add_transceiver",
                format!("a description has at most {MAX_M_LINES} m-lines"),
            ));
        }
        Ok(self.push(kind, direction, None, false))
    }

    /// W3C `addTrack`: a transceiver that sends. One that does not send (any more) is used again, so that adding and
    /// removing does not make m-lines.
    pub(crate) fn add_track(&mut self, kind: MediaKind) -> Result<TransceiverId> {
        let free = |s: &&mut Slot| s.kind == kind && !s.stopped && !s.direction.sends();
        if let Some(slot) = self.transceivers.iter_mut().find(free) {
            slot.direction = Direction::new(true, slot.direction.receives());
            return Ok(slot.id);
        }
        let id = self.add_transceiver(kind, Direction::SendRecv)?;
        if let Some(slot) = self.slot(id) {
            slot.associates = slot.mid.is_none();
        }
        Ok(id)
    }

    /// A new transceiver on the m-line of one that was stopped, if there is one of its kind.
    fn take_over(&mut self, kind: MediaKind, direction: Direction) -> Option<TransceiverId> {
        if self.state != SignalingState::Stable {
            return None;
        }
        let is_free = |s: &Slot| s.kind == kind && s.stopped && s.current == Some(Direction::Inactive);
        let at = self.transceivers.iter().position(is_free)?;
        let old = self.transceivers.remove(at);
        let id = self.push(kind, direction, old.mid, false);
        if let Some(line) = self.lines.iter_mut().find(|l| **l == Line::Transceiver(old.id)) {
            *line = Line::Transceiver(id);
        }
        let slot = self.slot(id)?;
        (slot.current, slot.cap, slot.said) = (old.current, old.cap, old.said);
        Some(id)
    }

    fn push(
        &mut self,
        kind: MediaKind,
        direction: Direction,
        mid: Option<String>,
        remote: bool,
    ) -> TransceiverId {
        let id = self.next_id;
        self.next_id += 1;
        self.transceivers.push(Slot {
            id,
            kind,
            mid,
            direction,
            current: None,
            codecs: Codec::ALL.into_iter().filter(|c| c.kind() == kind).collect(),
            codec: None,
            track: track::Shared::new(kind, Arc::clone(&self.hub)),
            associates: false,
            cap: Direction::SendRecv,
            said: None,
            fired: false,
            stable_fired: false,
            from_pending_offer: remote,
            stopped: false,
        });
        id
    }

    pub(crate) fn slot(&mut self, id: TransceiverId) -> Option<&mut Slot> {
        self.transceivers.iter_mut().find(|s| s.id == id)
    }

    /// The m-lines of the next offer: those of the session in their order, then new transceivers, then data.
    pub(crate) fn offer_lines(&self) -> Vec<MLine> {
        self.next_lines()
            .into_iter()
            .map(|line| self.m_line(line))
            .collect()
    }

    fn next_lines(&self) -> Vec<Line> {
        let new = self
            .transceivers
            .iter()
            .filter(|s| s.mid.is_none() && !s.stopped)
            .map(|s| Line::Transceiver(s.id));
        let mut lines: Vec<_> = self.lines.iter().copied().chain(new).collect();
        if self.wants_application && !lines.contains(&Line::Application) {
            lines.push(Line::Application);
        }
        lines
    }

    fn m_line(&self, line: Line) -> MLine {
        match line {
            Line::Application => MLine {
                kind: MediaKind::Application,
                mid: self.application_mid.clone(),
                direction: Direction::SendRecv,
                track: None,
            },
            Line::Transceiver(id) => match self.transceivers.iter().find(|s| s.id == id) {
                Some(slot) => MLine {
                    kind: slot.kind,
                    mid: slot.mid.clone(),
                    direction: if slot.stopped {
                        Direction::Inactive
                    } else {
                        slot.direction
                    },
                    track: Some(TrackPort(Arc::clone(&slot.track))),
                },
                None => MLine {
                    kind: MediaKind::Audio,
                    mid: None,
                    direction: Direction::Inactive,
                    track: None,
                },
            },
        }
    }

    /// Leaves in each m-line of an offer, ours or the remote peer's, what its transceiver takes, in that order.
    pub(crate) fn narrow_codecs(&self, sdp: &mut Sdp, lines: &[MLine]) {
        for (index, line) in lines.iter().enumerate() {
            let track = |s: &&Slot| line.track.as_ref().is_some_and(|t| Arc::ptr_eq(&t.0, &s.track));
            if let Some(slot) = self.transceivers.iter().find(track) {
                sdp.keep_codecs(index, &slot.codecs);
            }
        }
    }

    /// The m-lines to answer the pending remote offer with: our wish, as far as the offer allows it.
    pub(crate) fn answer_lines(&self, offer: &Sdp) -> Vec<MLine> {
        offer
            .sections()
            .zip(&self.lines)
            .map(|(section, line)| {
                let mut ours = self.m_line(*line);
                if ours.kind != MediaKind::Application {
                    let open = if section.is_rejected() {
                        Direction::Inactive
                    } else {
                        section.direction().reversed()
                    };
                    ours.direction = ours.direction.intersection(open);
                }
                ours
            })
            .collect()
    }

    /// The created offer becomes the pending local description; new transceivers get their mids.
    pub(crate) fn set_local_offer(&mut self, offer: Sdp) -> Result<()> {
        let lines = self.next_lines();
        if lines.len() != offer.sections().len() {
            return Err(Error::new(
                crate::ErrorKind::InvalidModification,
                "set_local_description",
                "transceivers or channels were added since the offer was created; create it again",
            ));
        }
        self.stable_lines = self.lines.len();
        self.lines = lines;
        let mids: Vec<_> = offer.sections().map(|s| s.mid().map(str::to_owned)).collect();
        for (line, mid) in self.lines.clone().into_iter().zip(mids) {
            match line {
                Line::Application => self.application_mid = mid,
                Line::Transceiver(id) => {
                    if let Some(slot) = self.slot(id) {
                        slot.mid = mid;
                    }
                }
            }
        }
        self.pending_local = Some((SdpType::Offer, offer));
        self.created = None;
        self.state = SignalingState::HaveLocalOffer;
        Ok(())
    }

    /// Checks a remote offer against what the session was when the state was last stable.
    pub(crate) fn check_remote_offer(&self, offer: &Sdp) -> Result<()> {
        let bad = |what: String| Err(Error::invalid_input("set_remote_description", what));
        let pending = self.state == SignalingState::HaveLocalOffer;
        let lines = if pending {
            &self.lines[..self.stable_lines]
        } else {
            &self.lines[..]
        };
        if offer.sections().len() < lines.len() {
            return bad(format!(
                "the offer has {} m-lines, the session {}",
                offer.sections().len(),
                lines.len()
            ));
        }
        for (index, (section, line)) in offer.sections().zip(lines).enumerate() {
            let ours = self.m_line(*line);
            if section.kind() != Some(ours.kind) || section.mid() != ours.mid.as_deref() {
                return bad(format!(
                    "m-line {index} of the offer is not the session's (kind or mid); m-lines never move"
                ));
            }
        }
        if offer
            .sections()
            .filter(|s| s.kind() == Some(MediaKind::Application))
            .count()
            > 1
        {
            return bad(
                "the offer has several application m-lines; one SCTP association is the limit".to_owned(),
            );
        }
        Ok(())
    }

    /// A checked remote offer becomes the pending remote description. Returns the transceivers that the remote peer
    /// will send on and did not before.
    pub(crate) fn set_remote_offer(&mut self, offer: Sdp) -> Vec<TransceiverId> {
        self.stable_lines = self.lines.len();
        for section in offer.sections().skip(self.lines.len()) {
            self.add_remote_line(section);
        }
        let sends = offer
            .sections()
            .map(|s| !s.is_rejected() && s.direction().sends());
        let mut started = Vec::new();
        for (line, sends) in self.lines.clone().into_iter().zip(sends) {
            let Line::Transceiver(id) = line else { continue };
            let Some(slot) = self.slot(id) else { continue };
            if sends && !slot.fired {
                started.push(id);
            }
            slot.fired = sends;
        }
        self.pending_remote = Some((SdpType::Offer, offer));
        self.state = SignalingState::HaveRemoteOffer;
        started
    }

    fn add_remote_line(&mut self, section: MediaSection<'_>) {
        let mid = section.mid().map(str::to_owned);
        let line = match section.kind() {
            Some(MediaKind::Application) | None => {
                self.application_mid = mid;
                Line::Application
            }
            Some(kind) => {
                // What was added to send goes where the offerer wants to receive (RFC 9429 §5.10).
                let wanted = section.direction().receives();
                let waits =
                    |s: &&mut Slot| wanted && s.associates && s.kind == kind && s.mid.is_none() && !s.stopped;
                let id = match self.transceivers.iter_mut().find(waits) {
                    Some(slot) if !section.is_rejected() => {
                        slot.mid = mid;
                        slot.id
                    }
                    _ => self.push(kind, Direction::RecvOnly, mid, true),
                };
                Line::Transceiver(id)
            }
        };
        self.lines.push(line);
    }

    /// An answer of ours or of the remote peer ends the exchange. Returns the transceivers that a remote answer says
    /// the remote peer sends on from now and did not before; an offer has said so already.
    pub(crate) fn set_answer(&mut self, answer: Sdp, ours: bool) -> Vec<TransceiverId> {
        let (local, remote) = if ours {
            let offer = self.pending_remote.take().or_else(|| self.current_remote.take());
            (Some((SdpType::Answer, answer)), offer)
        } else {
            let offer = self.pending_local.take().or_else(|| self.current_local.take());
            (offer, Some((SdpType::Answer, answer)))
        };
        let mut started = Vec::new();
        if let (Some((_, said)), Some((_, heard))) = (&local, &remote) {
            let answer = if ours { said } else { heard };
            let facts: Vec<_> = said
                .sections()
                .zip(heard.sections())
                .zip(answer.sections())
                .map(|((said, heard), answer)| {
                    let both = [said.codecs(), heard.codecs()];
                    let agreed = |c: &Codec| both.iter().all(|codecs| codecs.contains(c));
                    let codecs: Vec<_> = answer.codecs().into_iter().filter(agreed).collect();
                    (said.direction(), heard.direction(), answer.is_rejected(), codecs)
                })
                .collect();
            for (line, (said, heard, rejected, codecs)) in self.lines.clone().into_iter().zip(facts) {
                let Line::Transceiver(id) = line else { continue };
                let Some(slot) = self.slot(id) else { continue };
                let negotiated = if rejected {
                    Direction::Inactive
                } else {
                    said.intersection(heard.reversed())
                };
                slot.current = Some(negotiated);
                slot.codec = codecs.into_iter().find(|c| slot.codecs.contains(c));
                slot.said = Some(said);
                slot.cap = if ours {
                    heard.reversed()
                } else {
                    Direction::SendRecv
                };
                slot.from_pending_offer = false;
                if negotiated.receives() && !slot.fired {
                    started.push(id);
                }
                slot.fired = negotiated.receives();
                slot.stable_fired = slot.fired;
            }
        }
        self.current_local = local;
        self.current_remote = remote;
        self.pending_local = None;
        self.pending_remote = None;
        self.created = None;
        // A wish that came while another restart was under way goes on.
        if self
            .generation()
            .is_none_or(|ufrag| !self.to_replace.iter().any(|old| old == ufrag))
        {
            self.to_replace.clear();
        }
        self.state = SignalingState::Stable;
        started
    }

    /// Takes the pending offer back, ours or the remote peer's (RFC 9429 §4.1.10.2).
    pub(crate) fn rollback(&mut self) {
        for line in self.lines.split_off(self.stable_lines) {
            match line {
                Line::Application => self.application_mid = None,
                Line::Transceiver(id) => {
                    if let Some(slot) = self.slot(id) {
                        slot.mid = None;
                    }
                }
            }
        }
        self.transceivers.retain(|s| !s.from_pending_offer);
        for slot in &mut self.transceivers {
            slot.fired = slot.stable_fired;
        }
        self.pending_local = None;
        self.pending_remote = None;
        self.created = None;
        self.state = SignalingState::Stable;
    }

    /// Asks for new ICE credentials in the next exchange (W3C `restartIce`); nothing while there are none.
    pub(crate) fn restart_ice(&mut self) {
        let descriptions = [&self.current_local, &self.pending_local];
        let ufrags = descriptions.map(|d| d.as_ref()?.1.ice_ufrag().map(str::to_owned));
        self.to_replace = ufrags.into_iter().flatten().collect();
    }

    pub(crate) fn wants_ice_restart(&self) -> bool {
        !self.to_replace.is_empty()
    }

    /// The local ICE credentials in force, by their ufrag.
    pub(crate) fn generation(&self) -> Option<&str> {
        self.current_local.as_ref()?.1.ice_ufrag()
    }

    /// W3C §4.7.3, "check if negotiation is needed".
    pub(crate) fn needs_negotiation(&self) -> bool {
        let data = self.wants_application && !self.lines.contains(&Line::Application);
        let media = self.transceivers.iter().any(|s| match (&s.mid, s.said) {
            (None, _) => !s.stopped,
            (Some(_), Some(said)) => {
                let wish = if s.stopped {
                    Direction::Inactive
                } else {
                    s.direction
                };
                said != wish.intersection(s.cap)
            }
            (Some(_), None) => false,
        });
        self.wants_ice_restart() || data || media
    }

    /// Whether a candidate's mid or index names an m-line of the remote description.
    pub(crate) fn names_remote_line(&self, mid: Option<&str>, index: Option<u16>) -> bool {
        let Some((_, remote)) = self.remote() else {
            return false;
        };
        match (mid, index) {
            (Some(mid), _) => remote.sections().any(|s| s.mid() == Some(mid)),
            (None, Some(index)) => usize::from(index) < remote.sections().len(),
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timeline;

    fn jsep() -> Jsep {
        Jsep::new(Arc::new(Hub::new(Timeline::default())))
    }

    fn sdp(lines: &[(&str, &str, &str)]) -> Sdp {
        let mids: Vec<_> = lines.iter().map(|l| l.1).collect();
        let mut text = format!(
            "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n",
            mids.join(" ")
        );
        for (kind, mid, direction) in lines {
            let proto = if *kind == "application" {
                "UDP/DTLS/SCTP webrtc-datachannel"
            } else {
                "UDP/TLS/RTP/SAVPF 96"
            };
            let line = format!("m={kind} 9 {proto}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na={direction}\r\n");
            text.push_str(&line);
        }
        text.parse().unwrap()
    }

    #[test]
    fn an_offer_has_the_sessions_lines_first_and_data_last() {
        let mut jsep = jsep();
        jsep.wants_application = true;
        jsep.set_local_offer(sdp(&[("application", "0", "sendrecv")]))
            .unwrap();
        jsep.set_answer(sdp(&[("application", "0", "sendrecv")]), false);
        assert!(!jsep.needs_negotiation());
        jsep.add_transceiver(MediaKind::Video, Direction::SendOnly)
            .unwrap();
        assert!(jsep.needs_negotiation());
        let kinds: Vec<_> = jsep
            .offer_lines()
            .iter()
            .map(|l| (l.kind, l.mid.clone()))
            .collect();
        assert_eq!(
            kinds,
            [
                (MediaKind::Application, Some("0".into())),
                (MediaKind::Video, None)
            ]
        );
    }

    #[test]
    fn rollback_takes_mids_and_remote_transceivers_back() {
        let mut jsep = jsep();
        let id = jsep
            .add_transceiver(MediaKind::Audio, Direction::SendRecv)
            .unwrap();
        jsep.set_local_offer(sdp(&[("audio", "a", "sendrecv")])).unwrap();
        assert_eq!(jsep.slot(id).unwrap().mid.as_deref(), Some("a"));
        jsep.rollback();
        assert_eq!(jsep.slot(id).unwrap().mid, None);
        jsep.set_remote_offer(sdp(&[("video", "v", "sendrecv")]));
        assert_eq!(jsep.transceivers.len(), 2);
        jsep.rollback();
        assert_eq!(jsep.transceivers.len(), 1);
        assert_eq!(jsep.state, SignalingState::Stable);
        assert!(jsep.needs_negotiation());
    }

    #[test]
    fn an_answer_is_no_wider_than_the_offer() {
        let mut jsep = jsep();
        let offer = sdp(&[("video", "v", "sendonly"), ("application", "d", "sendrecv")]);
        assert_eq!(jsep.set_remote_offer(offer.clone()), [0]);
        jsep.transceivers[0].direction = Direction::SendRecv;
        let lines = jsep.answer_lines(&offer);
        assert_eq!(lines[0].direction, Direction::RecvOnly);
        assert_eq!(lines[1].kind, MediaKind::Application);
        let started = jsep.set_answer(
            sdp(&[("video", "v", "recvonly"), ("application", "d", "sendrecv")]),
            true,
        );
        assert!(started.is_empty(), "the offer has said so");
        assert_eq!(jsep.transceivers[0].current, Some(Direction::RecvOnly));
        assert!(!jsep.needs_negotiation(), "the offer left no more open");
    }

    #[test]
    fn m_lines_never_move() {
        let mut jsep = jsep();
        jsep.wants_application = true;
        jsep.set_local_offer(sdp(&[("application", "0", "sendrecv")]))
            .unwrap();
        jsep.set_answer(sdp(&[("application", "0", "sendrecv")]), false);
        let moved = sdp(&[("video", "1", "sendrecv"), ("application", "0", "sendrecv")]);
        let error = jsep.check_remote_offer(&moved);
        assert!(error.unwrap_err().to_string().contains("m-line 0"));
        assert_eq!(jsep.state, SignalingState::Stable);
    }

    #[test]
    fn a_stopped_transceivers_m_line_is_used_again() {
        let mut jsep = jsep();
        let first = jsep
            .add_transceiver(MediaKind::Video, Direction::SendOnly)
            .unwrap();
        for round in 0..20 {
            jsep.set_local_offer(sdp(&[("video", "v", "sendonly")])).unwrap();
            jsep.set_answer(sdp(&[("video", "v", "recvonly")]), false);
            let id = jsep.transceivers[0].id;
            assert_eq!(id, first + round);
            jsep.transceivers[0].stopped = true;
            assert!(jsep.needs_negotiation());
            jsep.set_local_offer(sdp(&[("video", "v", "inactive")])).unwrap();
            jsep.set_answer(sdp(&[("video", "v", "inactive")]), false);
            assert!(!jsep.needs_negotiation());
            jsep.add_transceiver(MediaKind::Video, Direction::SendOnly)
                .unwrap();
            assert!(jsep.needs_negotiation());
            assert_eq!(jsep.offer_lines().len(), 1);
        }
    }

    #[test]
    fn an_added_track_takes_the_offered_m_line() {
        let mut jsep = jsep();
        let ours = jsep.add_track(MediaKind::Video).unwrap();
        let offer = sdp(&[("audio", "a", "sendonly"), ("video", "v", "sendrecv")]);
        let started = jsep.set_remote_offer(offer.clone());
        assert_eq!(jsep.transceivers.len(), 2);
        assert!(started.contains(&ours));
        assert_eq!(jsep.answer_lines(&offer)[1].direction, Direction::SendRecv);
        jsep.rollback();
        assert_eq!(jsep.slot(ours).unwrap().mid, None);
        assert_eq!(jsep.transceivers.len(), 1);
    }

    #[test]
    fn a_removed_track_leaves_its_transceiver_for_the_next() {
        let mut jsep = jsep();
        let ours = jsep.add_track(MediaKind::Audio).unwrap();
        jsep.slot(ours).unwrap().direction = Direction::RecvOnly;
        assert_eq!(jsep.add_track(MediaKind::Audio).unwrap(), ours);
        assert_ne!(jsep.add_track(MediaKind::Audio).unwrap(), ours);
    }
}
