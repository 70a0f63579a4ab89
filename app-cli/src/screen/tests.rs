//! The screen in each state, with the figures and the times put in.

use super::{
    figures::{Counts, Way},
    keys,
    model::{Action, Change, Model, Tab},
    picture::{Blocks, Colors, fit},
    setup::{Choices, Setup},
    timeline::{ROWS, SIDES},
    view::{self, Pictures, Targets, Theme},
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers},
    layout::Rect,
    style::Color,
    widgets::Widget,
};
use std::time::Duration;
use visavis_core::{
    Candidate, Codec, IceMode, Mark, PairState, SessionDescription, Side, media::VideoSource,
};
use visavis_media::{
    session::{AudioInput, MediaPlan, VideoInput},
    source::{FrameRate, Pattern},
};

const SIZES: [(u16, u16); 2] = [(80, 24), (160, 45)];

fn setup() -> Setup {
    Setup {
        stacks: ["str0m", "webrtc-rs"],
        ice: IceMode::Trickle,
        plan: MediaPlan::checked((640, 480), FrameRate::new(30, 1).unwrap()),
        choices: Choices {
            stacks: vec!["str0m", "webrtc-rs"],
            codecs: vec![Codec::H264, Codec::Vp8],
            videos: vec![VideoInput::Pattern, VideoInput::Camera(0)],
            audios: vec![AudioInput::Tone],
        },
    }
}

/// The first picture of the pattern, on the sides that have one.
struct Still([bool; 2]);

impl Pictures for Still {
    fn draw(&mut self, side: Side, area: Rect, buf: &mut Buffer) -> bool {
        if self.0[side as usize] {
            let mut pattern = Pattern::new(640, 480, FrameRate::new(30, 1).unwrap()).unwrap();
            let frame = pattern.next().unwrap().unwrap();
            let area = fit((frame.width, frame.height), area);
            let colors = Colors::True;
            Widget::render(
                Blocks {
                    frame: &frame,
                    colors,
                },
                area,
                buf,
            );
        }
        self.0[side as usize]
    }
}

fn draw(
    model: &Model,
    (width, height): (u16, u16),
    colors: Colors,
    pictures: [bool; 2],
) -> (Terminal<TestBackend>, Targets) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut targets = Targets::default();
    terminal
        .draw(|frame| targets = view::draw(frame, model, Theme::new(colors), &mut Still(pictures)))
        .unwrap();
    (terminal, targets)
}

fn snapshot(name: &str, model: &Model, pictures: [bool; 2]) {
    for size in SIZES {
        let (terminal, _) = draw(model, size, Colors::True, pictures);
        insta::assert_snapshot!(format!("{name}_{}x{}", size.0, size.1), terminal.backend());
    }
}

fn fresh() -> Model {
    Model::new(setup())
}

fn started() -> Model {
    let mut model = fresh();
    model.state = PairState::Ready;
    model.figures.ways[0].get_or_insert_default().levels = [Some(-29.0), None];
    model
}

/// A call in which each side has reached every step up to this one.
fn reached(model: &mut Model, last: Mark) {
    let times = [
        (Mark::PeerCreated, [Some(0.25), Some(0.5)]),
        (Mark::OfferCreated, [Some(0.75), None]),
        (Mark::LocalDescriptionSet, [Some(0.8), Some(1.9)]),
        (Mark::RemoteDescriptionSet, [Some(2.0), Some(1.3)]),
        (Mark::AnswerCreated, [None, Some(1.85)]),
        (Mark::GatheringComplete, [Some(0.9), Some(2.1)]),
        (Mark::IceConnected, [Some(2.8), Some(3.1)]),
        (Mark::DtlsConnected, [Some(4.2), Some(4.0)]),
        (Mark::SctpUp, [Some(4.6), Some(4.5)]),
        (Mark::ChannelOpen, [Some(5.0), Some(4.8)]),
        (Mark::FirstPacket, [None, Some(12.5)]),
        (Mark::FirstFrameDecoded, [None, Some(18.0)]),
    ];
    model.steps.begin();
    for (mark, at) in times.into_iter().take_while(|(mark, _)| *mark <= last) {
        for side in SIDES {
            if let Some(ms) = at[side as usize] {
                model.steps.reach(side, mark, ms);
            }
        }
    }
    let sdp = |side: &str| {
        format!(
            "v=0\r\no=- {side} 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=fingerprint:sha-256 AB:CD\r\na=setup:actpass\r\na=sctp-port:5000\r\n"
        )
    };
    model
        .steps
        .described(Side::Offerer, SessionDescription::offer(sdp("1")));
    model
        .steps
        .described(Side::Answerer, SessionDescription::answer(sdp("2")));
    for side in SIDES {
        let port = 50_000 + side as u16;
        model.steps.candidate(
            side,
            Candidate {
                candidate: format!("candidate:1 1 udp 2130706175 127.0.0.1 {port} typ host"),
                ..Candidate::default()
            },
        );
    }
}

fn in_call() -> Model {
    let mut model = started();
    reached(&mut model, Mark::FirstFrameDecoded);
    model.state = PairState::InCall;
    model.up = Some(Duration::from_secs(83));
    model.say("connected in 5.0 ms");
    let mut way = Way {
        counts: Counts {
            captured: 2_490,
            decoded: 2_489,
            lost: 1,
            sent_again: 12,
            ..Counts::default()
        },
        levels: [Some(-29.0), Some(-29.4)],
        ..Way::default()
    };
    for step in 0..120 {
        way.fps.push(Some(30.0 - f64::from(step % 7) / 3.0));
        way.kbps.push(Some(800.0 + f64::from(step % 11) * 20.0));
        way.lost.push(Some(if step == 60 { 1.0 } else { 0.0 }));
        way.sent_again.push(Some(f64::from(step % 40 / 37)));
        way.age_ms.push(Some(5.0 + f64::from(step % 5)));
        model.figures.rtt_ms.push(Some(0.3 + f64::from(step % 3) / 10.0));
    }
    model.figures.ways[0] = Some(way);
    for side in SIDES {
        let states = &mut model.figures.sides[side as usize];
        states.signaling = "stable".to_owned();
        states.ice = "connected".to_owned();
        states.dtls = "connected";
        states.pair = Some("127.0.0.1:50000 to 127.0.0.1:50001".to_owned());
    }
    model.said("hello".to_owned());
    model.echoed(0.42);
    model.said("are you there?".to_owned());
    model.log_line("the offerer is connected".to_owned());
    model
}

#[test]
fn every_state_at_both_sizes() {
    snapshot("fresh", &fresh(), [false; 2]);
    snapshot("started", &started(), [true, false]);
    let mut calling = started();
    reached(&mut calling, Mark::IceConnected);
    (calling.state, calling.steps.going_ms) = (PairState::Calling, 250.0);
    snapshot("calling", &calling, [true, false]);
    snapshot("in_call", &in_call(), [true; 2]);
    let mut hung_up = in_call();
    (hung_up.state, hung_up.up) = (PairState::Ready, None);
    hung_up.say("hung up; c calls again");
    snapshot("hung_up", &hung_up, [true, false]);
    let mut error = started();
    reached(&mut error, Mark::GatheringComplete);
    let reason = "it took longer than 10s".to_owned();
    error.steps.failure = Some((Mark::IceConnected, Side::Offerer, reason));
    error.steps.selected = ROWS.iter().position(|mark| *mark == Mark::IceConnected).unwrap();
    error.complain(
        "the call failed at ice_connected after 10.0 s: it took longer than 10s. No pair of addresses let UDP \
         through both ways. Look for a firewall that blocks UDP",
    );
    snapshot("error", &error, [true, false]);
}

#[test]
fn every_pane_has_its_content_where_there_is_room_for_one() {
    let mut model = in_call();
    model.steps.selected = 1;
    for tab in [Tab::Step, Tab::Figures, Tab::Chat, Tab::Log] {
        model.tab = tab;
        let (terminal, _) = draw(&model, SIZES[0], Colors::True, [true; 2]);
        insta::assert_snapshot!(format!("pane_{}", tab.title().to_lowercase()), terminal.backend());
    }
    model.help = true;
    let (terminal, _) = draw(&model, SIZES[0], Colors::True, [true; 2]);
    insta::assert_snapshot!("help", terminal.backend());
}

#[test]
fn without_colours_nothing_has_any() {
    let mut model = in_call();
    model.steps.selected = 4;
    let (terminal, _) = draw(&model, SIZES[1], Colors::None, [false; 2]);
    for cell in &terminal.backend().buffer().content {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{cell:?}");
    }
}

#[test]
fn no_size_is_too_small_to_draw() {
    let mut model = in_call();
    for (width, height) in (1..90)
        .step_by(7)
        .flat_map(|w| (1..50).step_by(3).map(move |h| (w, h)))
    {
        for tab in Tab::ALL {
            model.tab = tab;
            draw(&model, (width, height), Colors::True, [true; 2]);
        }
    }
}

#[test]
fn what_is_clicked_is_what_is_drawn() {
    let model = in_call();
    for size in SIZES {
        let (terminal, targets) = draw(&model, size, Colors::True, [true; 2]);
        let text = terminal.backend().to_string();
        let find = |words: &str| {
            let rows = text.lines().enumerate();
            let mut found = rows.filter_map(|(y, row)| {
                let byte = row.find(words)?;
                // The backend puts each row in quotes.
                Some((row[..byte].chars().count() as u16 - 1, y as u16))
            });
            found.next().expect(words)
        };
        for (words, action) in [
            ("Start", Action::Start),
            ("Hang Up", Action::HangUp),
            ("str0m calls", Action::Change(Change::Offerer)),
            ("H264", Action::Change(Change::Codec)),
            ("? help", Action::Help),
            ("q quit", Action::Quit),
            ("DTLS connected", Action::Select(7)),
            ("Chat", Action::Show(Tab::Chat)),
        ] {
            let (x, y) = find(words);
            assert_eq!(targets.at(x, y), Some(action), "{words} at {x}, {y}");
        }
        assert_eq!(targets.at(size.0, size.1), None);
    }
}

#[test]
fn buttons_are_enabled_as_in_the_demo() {
    let mut model = fresh();
    for (state, enabled) in [
        (PairState::Idle, Action::Start),
        (PairState::Ready, Action::Call),
        (PairState::Calling, Action::HangUp),
        (PairState::InCall, Action::HangUp),
    ] {
        model.state = state;
        for button in [Action::Start, Action::Call, Action::HangUp] {
            let wanted = (button == enabled).then_some(button);
            assert_eq!(model.apply(button), wanted, "{state} {button:?}");
        }
        assert_eq!(model.apply(Action::Button), Some(enabled));
    }
    model.state = PairState::Ready;
    model.busy = Some("opening the sources");
    assert_eq!(model.apply(Action::Button), None);
}

#[test]
fn what_is_typed_goes_to_the_text() {
    let mut model = in_call();
    let press = |model: &mut Model, code| {
        let event = Event::Key(KeyEvent::new(code, KeyModifiers::NONE));
        let action = keys::action(&event, model, &Targets::default());
        action.and_then(|action| model.apply(action))
    };
    assert_eq!(press(&mut model, KeyCode::Char('t')), None);
    assert_eq!(model.tab, Tab::Chat);
    for c in "qsé".chars() {
        assert_eq!(press(&mut model, KeyCode::Char(c)), None);
    }
    assert_eq!(press(&mut model, KeyCode::Backspace), None);
    assert_eq!(model.chat.typed.as_deref(), Some("qs"));
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Action::Send));
    assert_eq!(press(&mut model, KeyCode::Esc), None);
    assert_eq!(model.chat.typed, None);
    assert_eq!(press(&mut model, KeyCode::Char('q')), Some(Action::Quit));
    for _ in 0..2_000 {
        model.apply(Action::Send);
        model.apply(Action::Type('ä'));
    }
    assert!(model.chat.typed.unwrap().len() <= 1_001);
}

#[test]
fn stacks_are_chosen_between_calls_and_sources_in_them() {
    let mut setup = setup();
    let stack = setup.change(Change::Offerer, PairState::InCall);
    assert!(stack.unwrap_err().contains("hang up first"));
    setup.change(Change::Offerer, PairState::Ready).unwrap();
    assert_eq!(setup.stacks, ["webrtc-rs", "webrtc-rs"]);
    setup.change(Change::Codec, PairState::Idle).unwrap();
    assert_eq!(setup.plan.video.as_ref().unwrap().codec, Codec::Vp8);
    setup.change(Change::Video, PairState::InCall).unwrap();
    assert_eq!(setup.plan.video.as_ref().unwrap().source, VideoInput::Camera(0));
    assert!(
        setup.change(Change::Audio, PairState::InCall).is_err(),
        "there is one tone"
    );
    let before = setup.bitrate();
    setup.change(Change::MoreBits, PairState::InCall).unwrap();
    assert_eq!(setup.bitrate(), before * 5 / 4);
    for _ in 0..100 {
        setup.change(Change::FewerBits, PairState::InCall).unwrap();
    }
    assert_eq!(setup.bitrate(), 50_000);
}

#[test]
fn the_longest_step_is_ones_own() {
    let mut model = fresh();
    reached(&mut model, Mark::FirstFrameDecoded);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    let (mark, ms) = model.steps.longest(Side::Offerer).unwrap();
    assert!(mark == Mark::DtlsConnected && near(ms, 1.4), "{mark:?} {ms}");
    let (mark, ms) = model.steps.longest(Side::Answerer).unwrap();
    assert!(mark == Mark::IceConnected && near(ms, 1.2), "{mark:?} {ms}");
    assert!(near(model.steps.span(), 5.0));
    model.apply(Action::Zoom);
    assert!(near(model.steps.span(), 18.0));
}

#[test]
fn chat_and_log_are_bounded() {
    let mut model = fresh();
    for number in 0..10_000 {
        model.said(number.to_string());
        model.log_line(number.to_string());
    }
    assert_eq!((model.chat.lines.len(), model.log.len()), (500, 500));
    assert_eq!(model.log.back().unwrap(), "9999");
}
