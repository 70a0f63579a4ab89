//! The steps of a call: when each side reached them, how long they took, and what was sent.

use visavis_core::{Candidate, Mark, SdpType, SelectedPair, SessionDescription, Side};

/// Both sides, the offerer first.
pub(crate) const SIDES: [Side; 2] = [Side::Offerer, Side::Answerer];

/// The other side.
pub(crate) fn other(side: Side) -> Side {
    match side {
        Side::Offerer => Side::Answerer,
        Side::Answerer => Side::Offerer,
    }
}

/// The steps that have a row, from top to bottom.
pub(crate) const ROWS: [Mark; 12] = [
    Mark::PeerCreated,
    Mark::OfferCreated,
    Mark::LocalDescriptionSet,
    Mark::RemoteDescriptionSet,
    Mark::AnswerCreated,
    Mark::GatheringComplete,
    Mark::IceConnected,
    Mark::DtlsConnected,
    Mark::SctpUp,
    Mark::ChannelOpen,
    Mark::FirstPacket,
    Mark::FirstFrameDecoded,
];

/// The steps of one call.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// When, in milliseconds since the call began.
    reached: [[Option<f64>; Mark::ALL.len()]; 2],
    /// How long the call has been going, while it is being made.
    pub(crate) going_ms: f64,
    /// The selected row of [`ROWS`].
    pub(crate) selected: usize,
    /// Whether the axis goes on to the first picture.
    pub(crate) to_the_first_picture: bool,
    /// The step that was not reached, by whom, and why.
    pub(crate) failure: Option<(Mark, Side, String)>,
    /// What each side sent.
    descriptions: [Option<SessionDescription>; 2],
    candidates: [Vec<Candidate>; 2],
    /// The pair that ICE selected, seen from each side.
    pub(crate) pairs: [Option<SelectedPair>; 2],
}

impl Steps {
    /// A new call begins; what is looked at stays.
    pub(crate) fn begin(&mut self) {
        *self = Self {
            selected: self.selected,
            to_the_first_picture: self.to_the_first_picture,
            ..Self::default()
        };
    }

    /// A side reached a step.
    pub(crate) fn reach(&mut self, side: Side, mark: Mark, ms: f64) {
        self.reached[side as usize][mark as usize].get_or_insert(ms);
    }

    /// A side sent a description.
    pub(crate) fn described(&mut self, side: Side, description: SessionDescription) {
        self.descriptions[side as usize] = Some(description);
    }

    /// A side sent a candidate.
    pub(crate) fn candidate(&mut self, side: Side, candidate: Candidate) {
        // A side may send 64.
        if self.candidates[side as usize].len() < 64 && !candidate.candidate.is_empty() {
            self.candidates[side as usize].push(candidate);
        }
    }

    /// The next row, or the one before.
    pub(crate) fn select_next(&mut self, by: isize) {
        self.selected = self.selected.saturating_add_signed(by).min(ROWS.len() - 1);
    }

    /// The selected step.
    pub(crate) fn mark(&self) -> Mark {
        ROWS[self.selected.min(ROWS.len() - 1)]
    }

    /// When a side reached a step, in milliseconds since the call began.
    pub(crate) fn at(&self, side: Side, mark: Mark) -> Option<f64> {
        self.reached[side as usize][mark as usize]
    }

    /// From when to when a side was busy with a step, or waited for it.
    pub(crate) fn bar(&self, side: Side, mark: Mark) -> Option<(f64, f64)> {
        let end = self.at(side, mark)?;
        let at = |mark| self.at(side, mark);
        let begin = match mark {
            Mark::PeerCreated => Some(0.0),
            Mark::LocalDescriptionSet => match side {
                Side::Offerer => at(Mark::OfferCreated),
                Side::Answerer => at(Mark::AnswerCreated),
            },
            Mark::RemoteDescriptionSet => match side {
                Side::Offerer => at(Mark::LocalDescriptionSet),
                Side::Answerer => at(Mark::PeerCreated),
            },
            Mark::AnswerCreated => at(Mark::RemoteDescriptionSet),
            Mark::GatheringComplete => at(Mark::LocalDescriptionSet),
            // Checks begin once both descriptions are known.
            Mark::IceConnected => at(Mark::LocalDescriptionSet)
                .zip(at(Mark::RemoteDescriptionSet))
                .map(|(a, b)| a.max(b)),
            Mark::DtlsConnected => at(Mark::IceConnected),
            Mark::SctpUp => at(Mark::DtlsConnected),
            Mark::ChannelOpen => at(Mark::SctpUp),
            // The senders begin when the channel is open.
            Mark::FirstPacket => at(Mark::ChannelOpen),
            Mark::FirstFrameDecoded => at(Mark::FirstPacket),
            _ => at(Mark::PeerCreated),
        };
        Some((begin.unwrap_or(end).min(end), end))
    }

    /// How long a side took for a step.
    pub(crate) fn took(&self, side: Side, mark: Mark) -> Option<f64> {
        self.bar(side, mark).map(|(begin, end)| end - begin)
    }

    /// The step of the handshake that took a side longest. To wait for the other side's description is no step of
    /// one's own.
    pub(crate) fn longest(&self, side: Side) -> Option<(Mark, f64)> {
        let handshake = ROWS
            .into_iter()
            .take_while(|mark| *mark != Mark::FirstPacket)
            .filter(|mark| *mark != Mark::RemoteDescriptionSet);
        let took = handshake.filter_map(|mark| Some((mark, self.took(side, mark)?)));
        took.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Where the axis ends, in milliseconds.
    pub(crate) fn span(&self) -> f64 {
        let last = |mark: Mark| {
            let both = SIDES.map(|side| self.at(side, mark));
            both.into_iter().flatten().reduce(f64::max)
        };
        let opened = SIDES
            .iter()
            .all(|side| self.at(*side, Mark::ChannelOpen).is_some());
        let handshake = if opened {
            last(Mark::ChannelOpen).unwrap_or(self.going_ms)
        } else {
            let reached = self.reached.iter().flatten().flatten().copied();
            reached.fold(self.going_ms, f64::max)
        };
        if self.to_the_first_picture {
            last(Mark::FirstFrameDecoded).map_or(handshake, |ms| ms.max(handshake))
        } else {
            handshake
        }
    }

    /// Whether there is anything to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.reached.iter().flatten().all(Option::is_none) && self.failure.is_none()
    }

    /// What was sent, found or agreed on in a step, line by line.
    pub(crate) fn material(&self, mark: Mark) -> Vec<String> {
        let description = |kind: SdpType| {
            let sent = SIDES.iter().find_map(|side| {
                Some((side, self.descriptions[*side as usize].as_ref()?)).filter(|d| d.1.kind == kind)
            });
            let Some((side, description)) = sent else {
                return Vec::new();
            };
            let heading = format!("The {} that the {side} sent:", description.kind);
            let lines = description.sdp.lines().map(str::to_owned);
            [heading].into_iter().chain(lines).collect()
        };
        match mark {
            Mark::OfferCreated => description(SdpType::Offer),
            Mark::AnswerCreated => description(SdpType::Answer),
            Mark::LocalDescriptionSet | Mark::RemoteDescriptionSet => {
                let mut lines = description(SdpType::Offer);
                lines.extend(description(SdpType::Answer));
                lines
            }
            Mark::GatheringComplete => Self::each(|side| {
                let sent = &self.candidates[side as usize];
                let inside = self.descriptions[side as usize]
                    .iter()
                    .flat_map(|d| d.sdp.lines());
                let inside = inside.filter_map(|line| line.strip_prefix("a=candidate:"));
                let inside = inside.map(|rest| format!("candidate:{rest} (in the description)"));
                sent.iter().map(|c| c.candidate.clone()).chain(inside).collect()
            }),
            Mark::IceConnected => Self::each(|side| {
                let pair = self.pairs[side as usize].iter();
                pair.map(|pair| format!("selected: {} to {}", pair.local, pair.remote))
                    .collect()
            }),
            Mark::DtlsConnected => Self::each(|side| self.attributes(side, &["a=fingerprint:", "a=setup:"])),
            Mark::SctpUp | Mark::ChannelOpen => Self::each(|side| {
                self.attributes(side, &["m=application", "a=sctp-port:", "a=max-message-size:"])
            }),
            Mark::FirstPacket | Mark::FirstFrameDecoded => {
                Self::each(|side| self.attributes(side, &["m=audio", "m=video", "a=rtpmap:", "a=ssrc:"]))
            }
            _ => Vec::new(),
        }
    }

    /// Lines of both sides, each side under its name.
    fn each(of: impl Fn(Side) -> Vec<String>) -> Vec<String> {
        let of = |side: Side| {
            let lines = of(side);
            let heading = (!lines.is_empty()).then(|| format!("{side}:"));
            heading
                .into_iter()
                .chain(lines.into_iter().map(|line| format!("  {line}")))
        };
        SIDES.into_iter().flat_map(of).collect()
    }

    /// The lines of a side's description that begin so.
    fn attributes(&self, side: Side, prefixes: &[&str]) -> Vec<String> {
        let lines = self.descriptions[side as usize]
            .iter()
            .flat_map(|d| d.sdp.lines());
        let wanted = lines.filter(|line| prefixes.iter().any(|prefix| line.starts_with(prefix)));
        let mut wanted: Vec<_> = wanted.map(str::to_owned).collect();
        wanted.dedup();
        wanted
    }
}
