//! Hanging up in any phase, and calling again.

use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use visavis_core::{
    Call, ChannelState, ConnectionState, ErrorKind, Mark, PairConfig, PairEvent, PairState, PeerPair,
    SamePage, Side,
};
use visavis_tests::{World, alive_tasks, deadline, eventually, expect_kind, ping};

async fn call(pair: &SamePage) -> Arc<Call> {
    deadline("a call", pair.call()).await.expect("a call")
}

/// Waits until no task is alive that was not at the start.
async fn no_more_tasks_than(baseline: usize, what: &str) {
    eventually(&format!("{what}: {baseline} tasks, as before"), || {
        alive_tasks() <= baseline
    })
    .await;
}

/// Called and hung up again and again: nothing stays behind.
pub(super) async fn call_again(world: World) {
    let pair = world.pair(PairConfig::default());
    pair.start().await.unwrap();
    // The first call may start what lives as long as the process.
    call(&pair).await;
    pair.hang_up().await.unwrap();
    no_more_tasks_than(0, "the first call").await;
    for n in 0..10 {
        let call = call(&pair).await;
        ping(&call.offerer.channel, &call.answerer.channel).await;
        assert_eq!(pair.state(), PairState::InCall);
        assert!(alive_tasks() > 0);
        deadline("hanging up", pair.hang_up()).await.unwrap();
        for side in [Side::Offerer, Side::Answerer] {
            let side = call.side(side);
            assert_eq!(side.channel.state(), ChannelState::Closed);
            assert_eq!(side.peer.connection_state(), ConnectionState::Closed);
        }
        assert_eq!(pair.state(), PairState::Ready);
        if world.is_memory() {
            assert_eq!(
                alive_tasks(),
                0,
                "hang_up {n} has ended every task when it returns"
            );
        } else {
            // A task that was joined may still be counted for a moment by the worker that ran it.
            no_more_tasks_than(0, "hung up").await;
        }
    }
}

const PHASES: [Mark; 10] = [
    Mark::PeerCreated,
    Mark::OfferCreated,
    Mark::LocalDescriptionSet,
    Mark::FirstCandidate,
    Mark::RemoteDescriptionSet,
    Mark::AnswerCreated,
    Mark::IceConnected,
    Mark::DtlsConnected,
    Mark::SctpUp,
    Mark::ChannelOpen,
];

/// Hung up at each step of a call: it ends at once, and nothing stays behind.
pub(super) async fn in_every_phase(world: World) {
    let pair = world.pair(PairConfig::default());
    pair.start().await.unwrap();
    call(&pair).await;
    pair.hang_up().await.unwrap();
    no_more_tasks_than(0, "the first call").await;
    for phase in PHASES {
        for side in [Side::Offerer, Side::Answerer] {
            let absent = match side {
                Side::Offerer => Mark::AnswerCreated,
                Side::Answerer => Mark::OfferCreated,
            };
            if phase == absent {
                continue;
            }
            let mut events = pair.events();
            let hang_up = async {
                loop {
                    match events.next().await {
                        Some(PairEvent::Step(s, mark, _)) if s == side && mark == phase => break,
                        Some(_) => {}
                        None => panic!("the events ended"),
                    }
                }
                pair.hang_up().await
            };
            let (called, hung_up) = deadline(&format!("hanging up at {phase:?} of the {side}"), async {
                tokio::join!(pair.call(), hang_up)
            })
            .await;
            hung_up.unwrap_or_else(|e| panic!("hang_up at {phase:?} of the {side}: {e}"));
            if let Err(failure) = called {
                assert!(failure.hung_up, "at {phase:?} of the {side}: {failure}");
            }
            assert_eq!(pair.state(), PairState::Ready);
            drop(events);
            no_more_tasks_than(0, &format!("hung up at {phase:?} of the {side}")).await;
        }
    }
    // At once, before anything has happened.
    let (called, hung_up) = tokio::join!(pair.call(), async {
        tokio::task::yield_now().await;
        pair.hang_up().await
    });
    hung_up.unwrap();
    assert!(called.is_ok() || called.is_err_and(|f| f.hung_up));
    // A caller that goes away.
    let given_up = tokio::time::timeout(Duration::from_micros(1), pair.call()).await;
    drop(given_up);
    if pair.state() == PairState::InCall {
        pair.hang_up().await.unwrap();
    }
    no_more_tasks_than(0, "a call that was dropped").await;
    let call = call(&pair).await;
    ping(&call.offerer.channel, &call.answerer.channel).await;
    pair.hang_up().await.unwrap();
}

/// The states of a pair, and which of its calls each allows.
pub(super) async fn pair_states(world: World) {
    let pair = world.pair(PairConfig::default());
    assert_eq!(pair.state(), PairState::Idle);
    let refused = pair.call().await.unwrap_err();
    assert_eq!(
        refused.source.as_ref().map(visavis_core::Error::kind),
        Some(ErrorKind::InvalidState)
    );
    assert!(!refused.hung_up);
    expect_kind(
        pair.hang_up().await,
        ErrorKind::InvalidState,
        "hang_up before start",
    );
    let mut events = pair.events();
    pair.start().await.unwrap();
    expect_kind(pair.start().await, ErrorKind::InvalidState, "start twice");
    let (first, second) = tokio::join!(pair.call(), pair.call());
    first.expect("the first call");
    let refused = second.expect_err("two calls at once");
    assert_eq!(
        refused.source.as_ref().map(visavis_core::Error::kind),
        Some(ErrorKind::InvalidState)
    );
    assert_eq!(pair.state(), PairState::InCall);
    pair.hang_up().await.unwrap();
    expect_kind(pair.hang_up().await, ErrorKind::InvalidState, "hang_up twice");
    let mut states = Vec::new();
    while states.len() < 4 {
        match deadline("a pair event", events.next()).await {
            Some(PairEvent::State(state)) => states.push(state),
            Some(_) => {}
            None => break,
        }
    }
    assert_eq!(
        states,
        [
            PairState::Ready,
            PairState::Calling,
            PairState::InCall,
            PairState::Ready
        ]
    );
}

/// A call that fails leaves the pair as it was, and the next one succeeds.
pub(super) async fn failed_call_then_a_good_one(world: World) {
    let pair = world.pair(PairConfig {
        timeout: Duration::from_secs(3),
        ..PairConfig::default()
    });
    pair.start().await.unwrap();
    world.memory().set_blocked(true);
    let began = Instant::now();
    let failure = deadline("the call's failure", pair.call())
        .await
        .expect_err("a blocked network");
    assert_eq!(failure.step, Some(Mark::IceConnected), "{failure}");
    assert!(!failure.hung_up);
    assert!(began.elapsed() >= Duration::from_secs(3));
    assert!(failure.to_string().contains("ice_connected"), "{failure}");
    assert_eq!(pair.state(), PairState::Ready);
    no_more_tasks_than(0, "a failed call").await;
    world.memory().set_blocked(false);
    let call = call(&pair).await;
    ping(&call.offerer.channel, &call.answerer.channel).await;
    pair.hang_up().await.unwrap();
}

/// A remote goodbye is heard at once.
pub(super) async fn remote_close_is_prompt(world: World) {
    for side in [Side::Offerer, Side::Answerer] {
        let mut call = world.call().await;
        let leaving = call.side(side).0.pc.clone();
        let (_, channel) = match side {
            Side::Offerer => call.side(Side::Answerer),
            Side::Answerer => call.side(Side::Offerer),
        };
        let began = Instant::now();
        deadline("close", leaving.close()).await;
        deadline("closed there", channel.closed()).await;
        // Said, not found out: 5 s of silence would make the connection `disconnected`.
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "it took {:?}",
            began.elapsed()
        );
        call.close().await;
    }
}

/// Dropping the last handle ends the call.
pub(super) async fn dropped(world: World) {
    let baseline = alive_tasks();
    // Never connected.
    let (a, b) = world.peers().await;
    a.create_data_channel(visavis_core::ChannelInit::new("t"))
        .await
        .unwrap();
    a.set_local_description(None).await.unwrap();
    drop((a, b));
    no_more_tasks_than(baseline, "peers dropped early").await;
    // Connected: the other side hears of it, too.
    let call = world.call().await;
    let visavis_tests::Call {
        offerer,
        answerer,
        b,
        negotiators,
        ..
    } = call;
    drop(negotiators);
    drop(offerer);
    deadline("closed there", b.closed()).await;
    drop(answerer);
    no_more_tasks_than(baseline, "peers dropped in a call").await;
}
