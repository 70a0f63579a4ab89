//! The offer goes out and the answer comes back in one HTTP exchange, all candidates inside.

use std::time::Duration;
use ureq::{Agent, Error, http::Uri};
use visavis_core::{SdpType, SessionDescription, sdp::MAX_SDP_LEN};

/// How much is said of a body that is not what it should be, in characters.
const QUOTED: usize = 200;

/// Posts the offer; the answer, or in words why there is none.
pub(super) async fn exchange(
    url: &Uri,
    offer: &SessionDescription,
    patience: Duration,
) -> Result<SessionDescription, String> {
    let body = serde_json::to_string(offer).map_err(|error| error.to_string())?;
    let to = url.clone();
    // The client blocks; it keeps to its time limit by itself.
    let posted = tokio::task::spawn_blocking(move || post(&to, &body, patience)).await;
    let (status, body) = posted.map_err(|_| "the HTTP client panicked")?.map_err(|error| {
        let patience = patience.as_secs_f64();
        match error {
            Error::Timeout(_) => format!("{url} did not answer within {patience:.1} s"),
            Error::HostNotFound => format!("there is no such host: {}", url.host().unwrap_or_default()),
            Error::BodyExceedsLimit(most) => format!("the answer of {url} is longer than {most} bytes"),
            Error::Io(error) => format!("{url} cannot be reached: {error}"),
            error => format!("{url} does not answer as HTTP: {error}"),
        }
    })?;
    if !(200..300).contains(&status) {
        return Err(format!("{url} answered {status}: {}", said(&body)));
    }
    read(&body)
}

fn post(url: &Uri, body: &str, patience: Duration) -> Result<(u16, String), Error> {
    let config = Agent::config_builder()
        .timeout_global(Some(patience))
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("visavis/", env!("CARGO_PKG_VERSION")));
    let agent = config.build().new_agent();
    let request = agent.post(url).header("accept", "application/json");
    let mut response = request.content_type("application/json").send(body)?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(2 * MAX_SDP_LEN as u64);
    Ok((status, body.lossy_utf8(true).read_to_string()?))
}

fn read(body: &str) -> Result<SessionDescription, String> {
    let answer: SessionDescription = serde_json::from_str(body).map_err(|error| {
        format!(
            "the answer is not {{\"type\":\"answer\",\"sdp\":…}} ({error}): {}",
            said(body)
        )
    })?;
    match answer.kind {
        SdpType::Answer => Ok(answer),
        other => Err(format!(
            "it sent back a description of type {other}, not an answer"
        )),
    }
}

/// The error in a body, or the beginning of the body.
fn said(body: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(body).ok();
    let error = json.as_ref().and_then(|json| json.get("error"));
    let text = match error {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(error) => error.to_string(),
        None => body.trim().to_owned(),
    };
    // It goes to a terminal.
    let mut text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if let Some((end, _)) = text.char_indices().nth(QUOTED) {
        text.truncate(end);
        text.push('…');
    }
    if text.is_empty() {
        "nothing".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_all_else_is_refused_in_words() {
        assert_eq!(
            read(r#"{"type":"answer","sdp":"v=0"}"#),
            Ok(SessionDescription::answer("v=0"))
        );
        let error = read(r#"{"type":"offer","sdp":"v=0"}"#).unwrap_err();
        assert!(error.contains("type offer"), "{error}");
        let error = read("<html>hello").unwrap_err();
        assert!(error.contains("<html>hello"), "{error}");
    }

    #[test]
    fn the_error_in_a_body_is_found() {
        assert_eq!(said(r#"{"error":"no ICE credentials"}"#), "no ICE credentials");
        assert_eq!(said(r#"{"error":{"code":1}}"#), r#"{"code":1}"#);
        assert_eq!(said("plain\nwords"), "plain words");
        assert_eq!(said(""), "nothing");
        assert_eq!(said(&"ä".repeat(300)).chars().count(), QUOTED + 1);
    }
}
