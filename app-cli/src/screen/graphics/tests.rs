use super::*;
use crate::screen::picture::tests::{picture, quadrants, terminal};
use ratatui::buffer::CellDiffOption;

const AREA: Rect = Rect::new(2, 1, 40, 15);

fn pixels(protocol: ProtocolType) -> Graphics {
    Graphics {
        colors: Colors::True,
        protocol: Some(Pixels {
            protocol,
            cell: (10, 20),
        }),
    }
}

fn draw(pane: &mut Pane, graphics: &Graphics, number: u64, area: Rect) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    pane.draw(graphics, &quadrants((64, 48)), number, area, &mut buffer);
    buffer
}

/// The symbol that carries a picture.
fn carrier(buffer: &Buffer) -> Option<&str> {
    let symbols = buffer.content.iter().map(ratatui::buffer::Cell::symbol);
    symbols.into_iter().find(|symbol| symbol.starts_with('\x1b'))
}

#[test]
fn names() {
    let blocks = |colors| Graphics::halfblocks(colors).name();
    assert_eq!(blocks(Colors::True), "half-blocks");
    assert_eq!(blocks(Colors::Indexed), "256 colours");
    assert_eq!(blocks(Colors::None), "no colours");
    assert_eq!(pixels(ProtocolType::Kitty).name(), "kitty");
    assert_eq!(pixels(ProtocolType::Sixel).name(), "sixel");
    assert_eq!(pixels(ProtocolType::Iterm2).name(), "iTerm2");
}

#[test]
fn who_stands_in_between_is_known() {
    for (name, value, wanted) in [
        ("TERM", "xterm-256color", false),
        ("TERM", "xterm-kitty", false),
        ("TERM", "tmux-256color", true),
        ("TERM", "screen.xterm-256color", true),
        ("TMUX", "/tmp/tmux-0/default,1,0", true),
        ("TMUX", "", false),
        ("STY", "1.pts-0", true),
        ("ZELLIJ", "0", true),
    ] {
        let variable = |asked: &str| (asked == name).then(|| value.to_owned());
        assert_eq!(in_multiplexer(variable), wanted, "{name}={value}");
    }
}

#[test]
fn blocks_are_drawn_where_the_picture_fits() {
    let graphics = &Graphics::halfblocks(Colors::True);
    let area = Rect::new(0, 0, 60, 15);
    let buffer = draw(&mut Pane::default(), graphics, 0, area);
    let coloured = |x| buffer[(x, 7)].bg != ratatui::style::Color::Reset;
    assert_eq!(
        (coloured(9), coloured(10), coloured(49), coloured(50)),
        (false, true, true, false)
    );
}

#[test]
fn a_picture_is_encoded_once() {
    for protocol in [ProtocolType::Kitty, ProtocolType::Sixel, ProtocolType::Iterm2] {
        let (graphics, pane) = (&pixels(protocol), &mut Pane::default());
        let encoded = |pane: &Pane| pane.ids.as_ref().map(|ids| ids.odd);
        assert!(carrier(&draw(pane, graphics, 7, AREA)).is_some(), "{protocol:?}");
        let once = encoded(pane);
        draw(pane, graphics, 7, AREA);
        assert_eq!(encoded(pane), once, "{protocol:?}");
        draw(pane, graphics, 8, AREA);
        assert_ne!(encoded(pane), once, "{protocol:?}");
        draw(pane, graphics, 8, Rect { width: 30, ..AREA });
        assert_eq!(encoded(pane), once, "{protocol:?}");
    }
}

#[test]
fn a_still_picture_is_sent_once() {
    for protocol in [ProtocolType::Kitty, ProtocolType::Sixel, ProtocolType::Iterm2] {
        let (graphics, pane) = (&pixels(protocol), &mut Pane::default());
        let (mut terminal, count) = terminal(Rect::new(0, 0, 80, 24));
        let mut sent = |number: u8| {
            count.0.set(0);
            let frame = &picture((64, 48), |x, _| [(x as u8) * 2 + 10 * number, 128, 128]);
            let draw = |screen: &mut ratatui::Frame| {
                pane.draw(graphics, frame, number.into(), AREA, screen.buffer_mut());
            };
            terminal.draw(draw).unwrap();
            count.0.get()
        };
        let (first, again, next) = (sent(1), sent(1), sent(2));
        assert!(first > 500, "{protocol:?}: {first} bytes");
        assert!(again < 100, "{protocol:?}: {again} bytes");
        assert!(
            next.abs_diff(first) < first / 2,
            "{protocol:?}: {next} after {first} bytes"
        );
    }
}

#[test]
fn kitty_stretches_a_small_picture_over_the_cells() {
    let graphics = &pixels(ProtocolType::Kitty);
    let buffer = draw(&mut Pane::default(), graphics, 0, AREA);
    let carrier = carrier(&buffer).unwrap();
    assert!(carrier.contains("U=1,c=40,r=15,"), "{}", &carrier[..80]);
    assert!(carrier.contains("s=64,v=48,"), "{}", &carrier[..80]);
}

#[test]
fn pictures_take_turns_with_their_names() {
    let (graphics, pane) = (&pixels(ProtocolType::Kitty), &mut Pane::default());
    let mut name = |number| {
        let buffer = draw(pane, graphics, number, AREA);
        let carrier = carrier(&buffer).unwrap().to_owned();
        let name = carrier.split(',').find(|part| part.starts_with("i=")).unwrap();
        name.to_owned()
    };
    let names = [name(0), name(1), name(2)];
    assert_eq!(names[0], names[2]);
    assert_ne!(names[0], names[1]);
    let other = draw(&mut Pane::default(), graphics, 0, AREA);
    assert!(!carrier(&other).unwrap().contains(&names[0]));
}

#[test]
fn nothing_of_an_old_picture_is_left() {
    let modes = [
        pixels(ProtocolType::Kitty),
        pixels(ProtocolType::Sixel),
        pixels(ProtocolType::Iterm2),
        Graphics::halfblocks(Colors::True),
    ];
    let smaller = Rect::new(20, 4, 20, 5);
    for old in &modes {
        for new in &modes {
            let pane = &mut Pane::default();
            let before = draw(pane, old, 0, AREA);
            let after = draw(pane, new, 0, smaller);
            let written: Vec<_> = before.diff(&after).into_iter().map(|(x, y, _)| (x, y)).collect();
            for position in AREA.positions() {
                let hidden = after[position].diff_option == CellDiffOption::Skip;
                let is_written = written.contains(&(position.x, position.y));
                // A half block may be what it was.
                let is_same = old.protocol.is_none() && before[position] == after[position];
                let names = (old.name(), new.name());
                assert!(hidden || is_written || is_same, "{names:?} at {position:?}");
            }
        }
    }
}

#[test]
fn no_area_is_too_small() {
    for protocol in [ProtocolType::Kitty, ProtocolType::Sixel, ProtocolType::Iterm2] {
        for (width, height) in [(0, 0), (1, 0), (1, 1), (2, 1), (1, 9)] {
            for size in [(0, 0), (1, 1), (3, 5), (640, 2)] {
                let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 8));
                let area = Rect::new(3, 3, width, height);
                Pane::default().draw(&pixels(protocol), &quadrants(size), 0, area, &mut buffer);
            }
        }
    }
}

#[test]
fn what_is_not_stretched_is_bounded() {
    let wide = pixels(ProtocolType::Sixel).protocol.unwrap();
    let area = wide.fit((640, 480), Rect::new(0, 0, 200, 100));
    assert_eq!(area, Rect::new(68, 38, 64, 24));
    let kitty = pixels(ProtocolType::Kitty).protocol.unwrap();
    assert_eq!(
        kitty.fit((640, 480), Rect::new(0, 0, 200, 75)),
        Rect::new(0, 0, 200, 75)
    );
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    for choice in [Choice::Auto, Choice::Halfblocks] {
        assert!(Graphics::detect(choice, Colors::None).protocol.is_none());
    }
}
