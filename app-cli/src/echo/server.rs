//! HTTP: what can be asked for, and that whatever is asked the server goes on.

use super::{Echo, caller, callers::count, offer::Offer, refusal::Refusal, stats};
use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::Serialize;
use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// The longest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// What is longer is taken off the connection up to this length, for a client that still sends would lose the error.
const MAX_DRAINED: usize = 1024 * 1024;

/// A body that takes longer than this to arrive is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections there are at once; more wait for the operating system to hand them over. Each takes a file
/// descriptor, which callers need as well.
const MAX_CONNECTIONS: usize = 128;

/// A connection that takes longer than this to say what it wants is closed.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection carries one request, and is closed after this long: so much for the headers, the body and the answer,
/// and to take the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(40);

/// After an error that will not go away by itself at once, such as no file descriptor being left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

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

    /// Serves until it is over and the last request is answered.
    pub(super) async fn serve(self, echo: Arc<Echo>) {
        let mut over = echo.over.subscribe();
        let service = TowerToHyperService::new(routes(Arc::clone(&echo)));
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accept = async {
                let permit = Arc::clone(&room).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                _ = over.wait_for(|over| *over) => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (service, over) = (service.clone(), echo.over.subscribe());
                    connections.spawn(async move {
                        let _permit = permit;
                        if timeout(CONNECTION_TIMEOUT, connection(stream, service, over))
                            .await
                            .is_err()
                        {
                            tracing::debug!("a connection was closed after {CONNECTION_TIMEOUT:?}");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

/// One request and its answer.
async fn connection(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
    mut over: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .keep_alive(false);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service));
    let is_over = async {
        let _ = over.wait_for(|over| *over).await;
    };
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = is_over => {
            // One that has asked for nothing yet ends here.
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn routes(echo: Arc<Echo>) -> Router {
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/offer", post(offer).options(preflight))
        .route("/callers/{token}/offer", post(later_offer).options(preflight))
        .route("/stats", get(stats))
        .route("/quit", post(quit))
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(common_headers))
        .with_state(echo)
}

/// Pages from elsewhere may call, and nothing here is worth keeping.
async fn common_headers(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let shared = path == "/offer" || path.starts_with("/callers/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if shared {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

async fn offer(State(echo): State<Arc<Echo>>, body: Body) -> Response {
    counted(&echo, first_answer(&echo, body).await)
}

async fn later_offer(State(echo): State<Arc<Echo>>, Path(token): Path<String>, body: Body) -> Response {
    counted(&echo, next_answer(&echo, &token, body).await)
}

fn counted(echo: &Echo, answered: Result<Response, Refusal>) -> Response {
    count(&echo.callers.totals.offers);
    answered.unwrap_or_else(|refusal| {
        count(&echo.callers.totals.refused);
        tracing::info!(status = %refusal.status, "an offer was refused: {}", refusal.text);
        refusal.into_response()
    })
}

async fn first_answer(echo: &Arc<Echo>, body: Body) -> Result<Response, Refusal> {
    let offer = read_offer(body).await?;
    let (answer, caller) = caller::answer(echo, offer).await?;
    let location = format!("/callers/{}/offer", caller.token);
    let headers = [
        (header::LOCATION, location),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Location".to_owned()),
    ];
    Ok((headers, json(&answer)).into_response())
}

async fn next_answer(echo: &Arc<Echo>, token: &str, body: Body) -> Result<Response, Refusal> {
    let offer = read_offer(body).await?;
    let caller = echo.callers.find(token).ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "there is no such caller, or no more; a new call begins with POST /offer",
        )
    })?;
    Ok(json(&caller::answer_again(echo, caller, offer).await?))
}

async fn read_offer(body: Body) -> Result<Offer, Refusal> {
    let body = timeout(BODY_TIMEOUT, read(body)).await.map_err(|_| {
        Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {BODY_TIMEOUT:?}"),
        )
    })??;
    Offer::read(&body)
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
        "/" | "/stats" => "GET",
        _ => "POST",
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
