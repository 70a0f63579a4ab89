//! HTTP: what can be asked for, and that whatever is asked the server goes on.

use super::{Echo, caller, callers::count, offer::Offer, refusal::Refusal, stats};
use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use std::{future::poll_fn, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::timeout};

/// The longest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// What is longer is taken off the connection up to this length, for a client that still sends would lose the error.
const MAX_DRAINED: usize = 1024 * 1024;

/// A body that takes longer than this to arrive is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

const PAGE: &str = include_str!("page.html");

/// A bound socket.
#[derive(Debug)]
pub(super) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Binds; port 0 picks one.
    pub(super) async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where to find it.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until it is over.
    pub(super) async fn serve(self, echo: Arc<Echo>) -> io::Result<()> {
        let mut over = echo.over.subscribe();
        axum::serve(self.listener, routes(echo))
            .with_graceful_shutdown(async move {
                let _ = over.wait_for(|over| *over).await;
            })
            .await
    }
}

fn routes(echo: Arc<Echo>) -> Router {
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/offer", post(offer).options(preflight))
        .route("/stats", get(stats))
        .route("/quit", post(quit))
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(common_headers))
        .with_state(echo)
}

/// Pages from elsewhere may call, and nothing here is worth keeping.
async fn common_headers(request: Request, next: Next) -> Response {
    let shared = request.uri().path() == "/offer";
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if shared {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

async fn offer(State(echo): State<Arc<Echo>>, body: Body) -> Response {
    count(&echo.callers.totals.offers);
    match answer(&echo, body).await {
        Ok(response) => response,
        Err(refusal) => {
            count(&echo.callers.totals.refused);
            tracing::info!(status = %refusal.status, "an offer was refused: {}", refusal.text);
            refusal.into_response()
        }
    }
}

async fn answer(echo: &Arc<Echo>, body: Body) -> Result<Response, Refusal> {
    let body = timeout(BODY_TIMEOUT, read(body)).await.map_err(|_| {
        Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {BODY_TIMEOUT:?}"),
        )
    })??;
    let offer = Offer::read(&body)?;
    Ok(json(&caller::answer(echo, offer).await?))
}

/// What a browser asks before a page from elsewhere may call.
async fn preflight() -> impl IntoResponse {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers)
}

async fn stats(State(echo): State<Arc<Echo>>) -> Response {
    json(&stats::collect(&echo).await)
}

async fn quit(State(echo): State<Arc<Echo>>, headers: HeaderMap) -> Result<Response, Refusal> {
    if !echo.allow_quit {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "start `visavis echo` with --allow-quit for this",
        ));
    }
    // Each browser says where the page comes from that wants this; scripts do not.
    if headers.contains_key(header::ORIGIN) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "no page may end the server"));
    }
    echo.quit.send_replace(true);
    Ok(json(&serde_json::json!({ "ok": true })))
}

async fn no_such_page(uri: Uri) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!(
            "there is no {}; there are POST /offer, GET /stats and GET /",
            uri.path()
        ),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let takes = match uri.path() {
        "/offer" | "/quit" => "POST",
        _ => "GET",
    };
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} takes {takes}, not {method}", uri.path()),
    )
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Reads a body that is not too long.
async fn read(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut len = 0;
    while let Some(part) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let part = part.map_err(|error| Refusal::bad(format!("the body did not arrive: {error}")))?;
        let Ok(part) = part.into_data() else { continue };
        len += part.len();
        if len > MAX_DRAINED {
            break;
        }
        if len <= MAX_BODY {
            bytes.extend_from_slice(&part);
        }
    }
    if len > MAX_BODY {
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than {MAX_BODY} bytes"),
        ));
    }
    Ok(bytes)
}
