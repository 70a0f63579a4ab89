//! What this process uses: threads, descriptors, tasks, processor time. Linux only; unknown elsewhere.

use crate::report::Report;
use std::time::Duration;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

/// Ticks a second in `/proc`: `USER_HZ`, which is 100 on every platform that Rust runs on.
const TICKS: f64 = 100.0;

/// Counts what this process holds after a call, so that a leak shows. `before` is how many tasks there were.
pub(crate) async fn count(report: &mut Report, before: usize) {
    // A closed peer's task may still be on its last line.
    let patience = Instant::now() + Duration::from_millis(100);
    while alive_tasks() > before && Instant::now() < patience {
        sleep(Duration::from_millis(1)).await;
    }
    report.tasks = Some(alive_tasks());
    report.threads = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|l| l.strip_prefix("Threads:"))?;
            line.trim().parse().ok()
        });
    // Reading the directory holds a descriptor of its own.
    report.fds = std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|fds| fds.count().saturating_sub(1));
}

/// Tokio tasks that are alive.
pub(crate) fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Measures the processor time of a stretch of work.
#[derive(Debug)]
pub(crate) struct Cpu {
    began: Instant,
    used: Option<f64>,
}

impl Cpu {
    /// From now on.
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
            used: processor_seconds(),
        }
    }

    /// Processor time over time since, 100 being one core. Unknown below half a second: the kernel counts in steps of
    /// 10 ms.
    pub(crate) fn percent(&self) -> Option<f64> {
        let wall = self.began.elapsed().as_secs_f64();
        let used = processor_seconds()? - self.used?;
        (wall >= 0.5).then(|| (1_000.0 * used / wall).round() / 10.0)
    }
}

/// User and system time of this process, in seconds (proc(5): the 14th and 15th field of `stat`).
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name, may contain anything; nothing after it does.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn processor_time_grows_with_work() {
        let before = processor_seconds().unwrap();
        let mut n = 0_u64;
        while processor_seconds().unwrap() <= before {
            n = std::hint::black_box(n + 1);
        }
        assert_eq!(Cpu::start().percent(), None);
    }
}
