//! The scenarios. Each does one kind of [`Work`] and leaves its numbers in an [`Outcome`]; what is wrong makes it fail.

pub mod codecs;
pub mod content;
pub mod data;
pub mod floor;
pub mod forward;
pub mod frames;
pub mod handshake;
pub mod open_loop;
mod paced;
pub mod peers;
pub mod tax;
mod video_call;

use crate::{
    lab::Lab,
    outcome::Outcome,
    work::{Arm, Visit, Work},
};
use tokio::task::JoinSet;

/// Does the work of a visit.
///
/// # Errors
///
/// What kept it from being measured at all.
pub async fn run(lab: &Lab, visit: &Visit, outcome: &mut Outcome) -> Result<(), String> {
    if let Arm::Floor { segmentation } = visit.arm {
        return floor::run(visit, segmentation, outcome).await;
    }
    if let Arm::ByHand { library, tuned } = &visit.arm {
        return tax::run(visit, library, *tuned, outcome).await;
    }
    match visit.work {
        Work::Handshake { .. } => handshake::run(lab, visit, outcome).await,
        Work::Frames { content, window } => frames::run(lab, visit, content, window, outcome).await,
        Work::Messages { .. } | Work::RoundTrips { .. } | Work::StalledReader { .. } => {
            data::run(lab, visit, outcome).await
        }
        Work::Peers { .. } => peers::run(lab, visit, outcome).await,
        Work::Forward { receivers } => forward::run(lab, visit, receivers, outcome).await,
        Work::OpenLoop { content } => open_loop::run(lab, visit, content, outcome).await,
        Work::Codecs {
            width,
            height,
            window,
        } => codecs::run(lab, visit, [width, height], window, outcome).await,
    }
}

/// Runs on one of the runtime's own threads, as applications do: to wake that of `block_on` costs more than a message.
async fn on_a_worker<T, F>(work: F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>> + Send + 'static,
    T: Send + 'static,
{
    // Ends with this function.
    let mut tasks = JoinSet::new();
    tasks.spawn(work);
    ended(&mut tasks).await
}

/// What the only task of a set gave.
async fn ended<T: 'static>(tasks: &mut JoinSet<Result<T, String>>) -> Result<T, String> {
    let ended = tasks.join_next().await.ok_or("no task")?;
    ended.map_err(|error| error.to_string())?
}
