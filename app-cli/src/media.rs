//! A call's media, in words.

use crate::{
    out::{BOLD, GREEN, Out, RED, paint, style_of},
    talk::Heard,
};
use std::{io, time::Duration};
use tokio::{sync::mpsc, time::sleep};
use visavis_core::{Error, Side};
use visavis_media::devices::get_user_media_error;
use visavis_media::session::{
    AudioInput, AudioWay, CallMedia, MediaPlan, MediaReport, VideoInput, VideoWay, WayReport,
};

/// How often it is told how the media does.
const PROGRESS: Duration = Duration::from_secs(1);

/// What the calls carry besides the data channel, if anything.
pub(crate) fn introduction(plan: &MediaPlan) -> Option<String> {
    let video = plan.video.as_ref().map(|video| match &video.source {
        VideoInput::Pattern => format!(
            "a pattern of {}x{} at {} a second as {}",
            video.size.0, video.size.1, video.rate, video.codec
        ),
        VideoInput::Camera(index) => format!("camera {index} as {}", video.codec),
        VideoInput::File(path) => format!("{} as {}", path.display(), video.codec),
    });
    let audio = plan.audio.as_ref().map(|audio| match &audio.source {
        AudioInput::Tone => "a tone".to_owned(),
        AudioInput::Microphone(None) => "the microphone".to_owned(),
        AudioInput::Microphone(Some(name)) => format!("the microphone {name}"),
        AudioInput::File(path) => path.display().to_string(),
    });
    let parts: Vec<_> = video.into_iter().chain(audio).collect();
    let both = if plan.both_ways {
        "; the answerer sends the same back"
    } else {
        ""
    };
    (!parts.is_empty()).then(|| format!("the offerer sends {}{both}", parts.join(" and ")))
}

/// Why a source was refused, in the demo's words where it is a device.
pub(crate) fn refused(error: &Error) -> String {
    let device = matches!(error.operation(), "get_user_media");
    let words = if device { get_user_media_error(error) } else { None };
    words.unwrap_or_else(|| {
        // The operation's name says nothing to people.
        let (text, operation) = (error.to_string(), format!("{}: ", error.operation()));
        text.strip_prefix(&operation).unwrap_or(&text).to_owned()
    })
}

/// Tells how the media does, until it is over.
pub(crate) async fn watch(media: &mut CallMedia, tell: &mpsc::UnboundedSender<Heard>) {
    loop {
        tokio::select! {
            () = media.over() => return,
            () = sleep(PROGRESS) => {}
        }
        let _ = tell.send(Heard::Progress(progress(&media.report())));
    }
}

/// A line on how it goes.
fn progress(report: &MediaReport) -> String {
    let of = |(side, way): (Side, &WayReport)| {
        let video = way.video.as_ref().map(|v| {
            let latency = v.capture_to_decode_ms.map(|l| format!(", {:.0} ms", l.p50));
            format!("{} pictures{}", v.frames.decoded, latency.unwrap_or_default())
        });
        let audio = way.audio.as_ref().map(|a| match a.beeps_heard {
            Some(beeps) => format!("{beeps} beeps"),
            None => format!("{} packets of sound", a.packets_received),
        });
        let parts: Vec<_> = video.into_iter().chain(audio).collect();
        format!("  from the {side}: {}", parts.join(", "))
    };
    ways(report).map(of).collect()
}

/// The first picture and the usual latency of each way, in ms.
pub(crate) fn figures(report: &MediaReport) -> impl Iterator<Item = (Option<f64>, Option<f64>)> {
    let video = ways(report).filter_map(|(_, way)| way.video.as_ref());
    video.map(|v| (v.first_frame_ms, v.capture_to_decode_ms.map(|l| l.p50)))
}

/// The ways there are, by who sends.
fn ways(report: &MediaReport) -> impl Iterator<Item = (Side, &WayReport)> {
    let of = |side| Some((side, report.sent_by(side)?));
    [Side::Offerer, Side::Answerer].into_iter().filter_map(of)
}

/// The rows of the summary.
pub(crate) fn summary(report: &MediaReport, out: &mut Out) -> io::Result<()> {
    for (side, way) in ways(report) {
        let heading = format!("from the {side}");
        out.line(format!("  {}", paint(style_of(side), paint(BOLD, heading))))?;
        let rows = way
            .video
            .iter()
            .flat_map(video_rows)
            .chain(way.audio.iter().flat_map(audio_rows));
        for (label, value) in rows {
            out.line(format!("    {label:<16}  {value}"))?;
        }
        let verdict = if way.problems.is_empty() {
            paint(GREEN, "good")
        } else {
            paint(RED, format!("bad: {}", way.problems.join("; ")))
        };
        out.line(format!("    {:<16}  {verdict}", "verdict"))?;
    }
    Ok(())
}

fn video_rows(video: &VideoWay) -> Vec<(&'static str, String)> {
    let f = &video.frames;
    let mut format = Vec::new();
    if let (Some(width), Some(height)) = (video.width, video.height) {
        format.push(format!("{width}x{height}"));
    }
    format.extend(video.codec.map(|codec| codec.to_string()));
    format.extend(video.fps.map(|fps| format!("{fps:.1} a second")));
    format.extend(video.bitrate_bps.map(kilobits));
    let mut fates = vec![
        format!("{} captured", f.captured),
        format!("{} sent", f.sent),
        format!("{} received", f.received),
        format!("{} decoded", f.decoded),
    ];
    fates.extend(
        f.fates()
            .into_iter()
            .map(|(count, fate)| format!("{count} {fate}")),
    );
    let mut rows = vec![("pictures", format.join(", ")), ("", fates.join(", "))];
    if let Some(ms) = video.first_frame_ms {
        rows.push(("first picture", format!("{ms:>9.2} ms  after the call began")));
    }
    if let Some(l) = video.capture_to_decode_ms {
        let rest = format!("p95 {:.2}, p99 {:.2}, max {:.2}", l.p95, l.p99, l.max);
        rows.push((
            "latency",
            format!("{:>9.2} ms  from capture to decoded; {rest}", l.p50),
        ));
    }
    if let Some(psnr) = video.psnr_db {
        let order = match video.numbers_in_order {
            Some(true) => ", all in order",
            Some(false) => ", not in order",
            None => "",
        };
        rows.push((
            "likeness",
            format!("PSNR {:.1} dB, at least {:.1}{order}", psnr.mean, psnr.min),
        ));
    }
    rows
}

fn audio_rows(audio: &AudioWay) -> Vec<(&'static str, String)> {
    let mut parts = vec![
        audio.codec.to_string(),
        format!(
            "{} packets sent, {} received",
            audio.packets_sent, audio.packets_received
        ),
    ];
    if audio.packets_lost > 0 {
        parts.push(format!("{} lost", audio.packets_lost));
    }
    if audio.concealed > 0 {
        parts.push(format!("{} concealed", audio.concealed));
    }
    parts.extend(audio.bitrate_bps.map(kilobits));
    let mut rows = vec![("sound", parts.join(", "))];
    let mut heard = Vec::new();
    if let (Some(beeps), Some(expected)) = (audio.beeps_heard, audio.beeps_expected) {
        heard.push(format!("{beeps} of {expected} beeps"));
    }
    heard.extend(
        audio
            .level_dbfs
            .map(|level| format!("the tone at {level:.1} dBFS")),
    );
    if let Some(skew) = audio.skew_ms {
        let where_ = if skew.median < 0.0 { "ahead of" } else { "behind" };
        heard.push(format!("{:.1} ms {where_} the picture", skew.median.abs()));
    }
    if !heard.is_empty() {
        rows.push(("", heard.join(", ")));
    }
    rows
}

fn kilobits(bps: u64) -> String {
    format!("{:.0} kbit/s", bps as f64 / 1_000.0)
}
