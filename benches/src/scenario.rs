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
        Work::Peers { pairs, active } => peers::run(lab, visit, pairs, active, outcome).await,
        Work::Forward { receivers } => forward::run(lab, visit, receivers, outcome).await,
        Work::OpenLoop { content } => open_loop::run(lab, visit, content, outcome).await,
        Work::Codecs {
            width,
            height,
            window,
        } => codecs::run(lab, visit, [width, height], window, outcome).await,
    }
}
