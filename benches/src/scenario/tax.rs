//! The same work on a library driven by hand: what visavis adds to it, or takes off.

use crate::{
    lab::nets,
    metric::Metric,
    outcome::{Meter, Outcome, Values},
    scenario::on_a_worker,
    work::{Content, Network, Visit, Work},
};
use visavis_baseline::{ByHand, Connected, Variant, by_hand};

/// About how long a batch takes, so that its processor time can be read.
const BATCH: f64 = 0.02;

/// Does the visit's work by hand.
///
/// # Errors
///
/// When the library is not in this build, the work is none that is done by hand, or there was no call. What is lost or
/// damaged is a failure in the outcome.
pub async fn run(visit: &Visit, library: &str, tuned: bool, outcome: &mut Outcome) -> Result<(), String> {
    let variant = if tuned { Variant::Tuned } else { Variant::Defaults };
    let library = by_hand(library, variant).ok_or_else(|| format!("{library} is not driven by hand"))?;
    let (nets, _) = nets(Network::Loopback);
    if let Work::Handshake {
        network: Network::Loopback,
        ..
    } = visit.work
    {
        let call = async || {
            let took = library
                .handshake(nets.clone())
                .await
                .map_err(|error| error.to_string())?;
            Ok(vec![(Metric::Total, took.as_secs_f64() * 1e3)])
        };
        outcome.measure(visit, call).await;
        return Ok(());
    }
    let (mut pair, mut count) = (Some(connect(&*library).await?), 100);
    outcome
        .measure(visit, async || {
            let (work, mut connected) = (visit.work, pair.take().ok_or("the call has failed")?);
            let batch = async move {
                let values = batch(work, &mut *connected, &mut count).await;
                Ok((connected, values, count))
            };
            // Where the applications of visavis's own arms run.
            let done = match work {
                Work::Frames { .. } => batch.await,
                _ => on_a_worker(batch).await,
            };
            let (back, values, next) = done?;
            (pair, count) = (Some(back), next);
            values
        })
        .await;
    // It may have ended with a failure, which is in the outcome then.
    if let Some(connected) = pair {
        let _ = connected.close().await;
    }
    Ok(())
}

/// A call on loopback.
async fn connect(library: &dyn ByHand) -> Result<Box<dyn Connected>, String> {
    let (nets, _) = nets(Network::Loopback);
    library.connect(nets).await.map_err(|error| error.to_string())
}

/// Sends `count` of whatever the work says, and chooses the next batch's.
async fn batch(work: Work, connected: &mut dyn Connected, count: &mut u64) -> Result<Values, String> {
    let sent = *count;
    let meter = Meter::start();
    let (done, size) = match work {
        Work::Frames {
            content: Content::Size(size),
            window,
        } => (connected.frames(size, window, sent).await, size),
        Work::Messages { size } => (connected.messages(size, sent).await, size),
        Work::RoundTrips { size } => (connected.round_trips(size, sent).await, size),
        other => return Err(format!("{other} is not done by hand")),
    };
    let took = done.map_err(|error| error.to_string())?.as_secs_f64();
    let (_, cpu) = meter.read();
    let rate = sent as f64 / took;
    *count = ((rate * BATCH) as u64).max(10);
    let throughput = (Metric::Throughput, rate * size as f64 / 1e6);
    Ok(match work {
        Work::Frames { .. } => vec![
            (Metric::FramesPerSecond, rate),
            (Metric::FramesPerCpuSecond, sent as f64 / cpu),
            throughput,
        ],
        Work::RoundTrips { .. } => vec![(Metric::RoundTrip, took * 1e6 / sent as f64)],
        _ => vec![
            (
                work.headline(),
                if work.headline() == Metric::Throughput {
                    throughput.1
                } else {
                    rate
                },
            ),
            (Metric::MessagesPerCpuSecond, sent as f64 / cpu),
        ],
    })
}
