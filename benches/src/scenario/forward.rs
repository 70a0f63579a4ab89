//! What a small SFU does: one video received, and sent on to many.

use crate::{
    lab::Lab,
    outcome::{Outcome, Values},
    scenario::{
        frames::video,
        handshake::negotiated,
        paced,
        peers::{Calls, allow_sockets},
    },
    work::{Network, Visit},
};
use std::time::Duration;
use tokio::task::JoinSet;
use visavis_core::{OutgoingFrame, TrackReceiver, TrackSender};

/// Forwards one video to as many as the visit's [`Work::Forward`](crate::work::Work::Forward) says, and measures what
/// this takes and how old the frames are when they arrive. The publisher and the hub are the first pair, the hub and
/// each receiver another, every one with the arm's stacks; all are in this process.
///
/// # Errors
///
/// When the limit of open files is too low, or what arrives is damaged. A call that fails is a failure in the outcome.
pub async fn run(lab: &Lab, visit: &Visit, receivers: usize, outcome: &mut Outcome) -> Result<(), String> {
    let pairs = receivers + 1;
    allow_sockets(pairs)?;
    let site = lab.site(visit, Network::Loopback, false)?;
    let (calls, failures) = Calls::make(&site, &video(), pairs).await;
    outcome.failures.extend(failures);
    let measured = if outcome.failures.is_empty() {
        measure(&calls, visit.budget.max(paced::LEAST)).await.map(Some)
    } else {
        Ok(None)
    };
    let ended = calls.end().await;
    if let Some(values) = measured? {
        outcome.add(&values);
        // The first second of frames did not count.
        outcome.settled = true;
    }
    ended?;
    outcome.negotiated = Some(negotiated(&site).await?);
    Ok(())
}

async fn measure(calls: &Calls, budget: Duration) -> Result<Values, String> {
    let tracks = calls.0.iter().map(|(_, call)| {
        let sender = call.offerer.transceivers[0].sender();
        (sender, call.answerer.transceivers[0].receiver())
    });
    let (mut senders, mut receivers): (Vec<_>, Vec<_>) = tracks.unzip();
    let publisher = senders.remove(0);
    let published = receivers.remove(0);
    for sender in &senders {
        paced::ready(sender).await?;
    }
    // Dropped, and so ended, with this function.
    let mut hub = JoinSet::new();
    hub.spawn(async move { forward(&published, &senders).await });
    paced::run(vec![publisher], receivers, budget).await
}

/// Sends every frame that arrives on each of `senders`. They share its bytes.
async fn forward(published: &TrackReceiver, senders: &[TrackSender]) {
    while let Some(frame) = published.recv().await {
        for sender in senders {
            // What is dropped here is missing at its receiver, and counted there.
            sender.try_send(OutgoingFrame {
                codec: frame.codec,
                payload: frame.payload.clone(),
                keyframe: frame.keyframe,
                media_time: frame.media_time,
                captured: frame.first_packet,
            });
        }
    }
}
