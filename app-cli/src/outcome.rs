//! How a call ended: written down in its report, and said on standard error if it was not good.

use crate::{
    out::{BOLD, RED, note, paint},
    report::{ExitReason, Report},
    steps,
};
use tokio::time::Instant;
use visavis_core::{CallFailure, Mark, Side};

/// How the conversation ended.
pub(crate) enum Ended {
    /// It was time.
    Done,
    /// By a signal.
    Interrupted,
    /// At which step, and why.
    Broken(&'static str, String),
}

/// Writes down, and says on standard error, why there was no call.
pub(crate) fn fail(report: &mut Report, failure: &CallFailure, began: Instant) {
    for (side, timeline) in [Side::Offerer, Side::Answerer]
        .into_iter()
        .zip(&failure.timelines)
    {
        report.side(side).reached(timeline, began);
    }
    if failure.hung_up {
        report.exit_reason = ExitReason::Interrupted;
        return;
    }
    let step = failure.step.map_or("peer_created", Mark::name);
    report.failed_step = Some(step);
    report.failed_side = Some(failure.side);
    report.error = Some(failure.reason.clone());
    let label = failure.step.map_or("peer created", steps::label);
    complain(
        step,
        &format!(
            "the call failed after {:.1} s: the {} did not reach `{label}`: {}",
            failure.after.as_secs_f64(),
            failure.side,
            failure.reason
        ),
    );
}

/// Writes down how a call that was up has ended, and says on standard error what was wrong with it.
pub(crate) fn end(report: &mut Report, ended: Ended) {
    match ended {
        Ended::Interrupted => report.exit_reason = ExitReason::Interrupted,
        Ended::Broken(step, reason) => fail_at(report, step, reason),
        Ended::Done => match report.media.problems().as_slice() {
            [] => report.exit_reason = ExitReason::Done,
            problems => fail_at(report, steps::MEDIA, problems.join("; ")),
        },
    }
}

/// The call failed at `step` with media or messages, or before it was made.
pub(crate) fn fail_at(report: &mut Report, step: &'static str, reason: String) {
    let what = match step {
        steps::SOURCES => reason.clone(),
        steps::MEDIA => format!("the media was bad: {reason}"),
        _ => format!("the call broke: {reason}"),
    };
    complain(step, &what);
    report.exit_reason = ExitReason::Failed;
    report.failed_step = Some(step);
    report.error = Some(reason);
}

fn complain(step: &str, what: &str) {
    note(format!("{} {what}", paint(RED, "error:")));
    note(format!("  {} {}", paint(BOLD, "try:"), steps::advice(step)));
}
