//! A seeded mutator of text, for descriptions and candidates.

/// A small generator of numbers (`SplitMix64`), the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, or 0 if `n` is.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 {
            return 0;
        }
        (self.number() % n as u64) as usize
    }
}

/// One to three random changes of a description.
pub fn description(random: &mut Random, sdp: &str) -> String {
    let mut text = sdp.to_owned();
    for _ in 0..=random.below(3) {
        text = match random.below(10) {
            0 => with_lines(&text, |lines| {
                lines.remove(random.below(lines.len()));
            }),
            1 => with_lines(&text, |lines| {
                let line = lines[random.below(lines.len())];
                lines.insert(random.below(lines.len() + 1), line);
            }),
            2 => with_lines(&text, |lines| {
                let (a, b) = (random.below(lines.len()), random.below(lines.len()));
                lines.swap(a, b);
            }),
            3 => truncate(random, &text),
            4 | 5 => flip(random, &text),
            6 | 7 => number(random, &text),
            8 => with_lines(&text, |lines| {
                let a = random.below(lines.len());
                let b = (a + 1 + random.below(12)).min(lines.len());
                let block: Vec<_> = lines[a..b].to_vec();
                lines.splice(b..b, block);
            }),
            _ => insert(random, &text),
        };
    }
    text
}

/// One or two random changes of a candidate line.
pub fn candidate(random: &mut Random, line: &str) -> String {
    let mut text = line.to_owned();
    for _ in 0..=random.below(2) {
        text = match random.below(7) {
            0 => {
                let mut words: Vec<_> = text.split(' ').collect();
                words.remove(random.below(words.len()));
                words.join(" ")
            }
            1 => {
                let mut words: Vec<_> = text.split(' ').collect();
                let (a, b) = (random.below(words.len()), random.below(words.len()));
                words.swap(a, b);
                words.join(" ")
            }
            2 => truncate(random, &text),
            3 => flip(random, &text),
            4 | 5 => number(random, &text),
            _ => insert(random, &text),
        };
    }
    text
}

fn with_lines(text: &str, change: impl FnOnce(&mut Vec<&str>)) -> String {
    let mut lines: Vec<_> = text.split("\r\n").collect();
    change(&mut lines);
    lines.join("\r\n")
}

fn at(random: &mut Random, text: &str) -> usize {
    let mut at = random.below(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn truncate(random: &mut Random, text: &str) -> String {
    text[..at(random, text)].to_owned()
}

/// Another character in the place of one.
fn flip(random: &mut Random, text: &str) -> String {
    let at = at(random, text);
    let Some(old) = text[at..].chars().next() else {
        return text.to_owned();
    };
    let new = char::from((random.number() % 128) as u8);
    format!("{}{new}{}", &text[..at], &text[at + old.len_utf8()..])
}

/// Another number in the place of one.
fn number(random: &mut Random, text: &str) -> String {
    const NUMBERS: [&str; 10] = [
        "0",
        "1",
        "-1",
        "127",
        "255",
        "65535",
        "65536",
        "4294967296",
        "18446744073709551616",
        "999999999999999999999999",
    ];
    let starts: Vec<_> = text
        .match_indices(|c: char| c.is_ascii_digit())
        .map(|(i, _)| i)
        .filter(|i| *i == 0 || !text.as_bytes()[i - 1].is_ascii_digit())
        .collect();
    if starts.is_empty() {
        return text.to_owned();
    }
    let start = starts[random.below(starts.len())];
    let length = text[start..].bytes().take_while(u8::is_ascii_digit).count();
    let new = NUMBERS[random.below(NUMBERS.len())];
    format!("{}{new}{}", &text[..start], &text[start + length..])
}

fn insert(random: &mut Random, text: &str) -> String {
    const SNIPPETS: [&str; 12] = [
        "\r\n",
        "\n",
        "\0",
        "a=",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
        "a=ice-lite\r\n",
        "a=setup:holdconn\r\n",
        "a=rtpmap:96 VP8/0/0\r\n",
        "a=fmtp:96 =;=;\r\n",
        "\u{FEFF}",
        "a=candidate:1 1 udp 1 ::1 1 typ host\r\n",
    ];
    let at = at(random, text);
    let snippet = SNIPPETS[random.below(SNIPPETS.len())];
    format!("{}{snippet}{}", &text[..at], &text[at..])
}
