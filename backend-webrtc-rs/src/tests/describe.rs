use super::*;
use crate::media::formats::parse;

const SDP: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=msid-semantic:WMS *\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=sendrecv\r\na=msid:s t\r\n\
    a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtcp-fb:111 transport-cc\r\n\
    a=extmap:4/sendrecv urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ssrc:7 cname:x\r\na=ssrc:7 msid:s t\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 102 103 96 97 98 100\r\na=mid:v\r\na=sendonly\r\na=msid:s u\r\n\
    a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f\r\na=rtcp-fb:102 nack pli\r\n\
    a=rtpmap:103 RTX/90000\r\na=fmtp:103 apt=102\r\na=rtpmap:96 vp8/90000\r\na=rtcp-fb:96 nack\r\n\
    a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=2\r\n\
    a=rtpmap:100 H264/90000\r\na=fmtp:100 packetization-mode=0;profile-level-id=42e01f\r\n\
    a=ssrc-group:FID 21 22\r\na=ssrc:22 cname:x\r\na=ssrc:21 cname:x\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:w\r\na=recvonly\r\na=msid:s v\r\na=rtpmap:96 VP8/90000\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\na=sendrecv\r\n";

fn payload_types(sdp: &str, index: usize) -> Vec<u8> {
    parse(sdp)[index].1.list.iter().map(|(pt, _)| *pt).collect()
}

#[test]
fn an_answer_has_what_was_offered_and_an_offer_has_all() {
    let ours = Streams {
        ssrc: 1000,
        rtx: 1001,
    };
    let mut types = PayloadTypes::default();
    let library = for_library(SDP);
    assert_eq!(payload_types(&library, 1), [102, 103, 104, 105, 96, 97, 98, 99]);
    assert_eq!(payload_types(&library, 2), [102, 103, 104, 105, 96, 97, 98, 99]);
    // The remote peer's numbers are kept, also in our next offer.
    let remote = SDP.replace("96", "127").replace("102", "96");
    let answer = declare(&library, Some(&remote), &mut types, "me", |_, _| Some(ours));
    let video = &parse(&answer)[1].1;
    assert_eq!(payload_types(&answer, 1), [96, 103, 127, 97]);
    assert_eq!(
        (video.get(96), video.get(127)),
        (Some(Format::Codec(Codec::H264)), Some(Format::Codec(Codec::Vp8)))
    );
    assert_eq!((video.rtx(96), video.rtx(127)), (Some(103), Some(97)));
    assert!(video.has_feedback(96, "nack pli") && !video.has_feedback(96, "nack"));
    let offer = declare(&library, None, &mut types, "me", |_, _| Some(ours));
    assert_eq!(payload_types(&offer, 1)[..2], [96, 103]);
    assert_eq!(parse(&offer)[1].1.payload_type(Codec::Vp8), Some(127));
    let mut all = payload_types(&offer, 1);
    assert_eq!(all.len(), 8);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8, "each number has one meaning");
}

#[test]
fn our_streams_are_declared_where_we_send() {
    let ours = Streams {
        ssrc: 1000,
        rtx: 1001,
    };
    let mut asked = Vec::new();
    let declared = declare(
        SDP,
        Some(SDP),
        &mut PayloadTypes::default(),
        "me",
        |mid, sends| {
            asked.push((mid.to_owned(), sends));
            sends.then_some(ours)
        },
    );
    assert_eq!(
        asked,
        [("a", true), ("v", true), ("w", false)].map(|(mid, sends)| (mid.to_owned(), sends))
    );
    let parsed = parse(&declared);
    let streams: Vec<_> = parsed.iter().map(|(_, formats)| formats.streams()).collect();
    assert_eq!(
        streams,
        [
            (Some(1000), None),
            (Some(1000), Some(1001)),
            (None, None),
            (None, None)
        ]
    );
    assert!(!declared.contains("ssrc:7") && !declared.contains("cname:x"));
    assert_eq!(parse(&declared)[1].1.list, parse(SDP)[1].1.list);
}

#[test]
fn a_stream_stays_declared_while_nothing_is_sent() {
    let media = crate::media::Media::new(1200);
    let streams = |sdp: &str| {
        parse(&media.declare(sdp, Some(&sdp.parse().unwrap())))[1]
            .1
            .streams()
    };
    let inactive = SDP.replace("a=sendonly", "a=inactive");
    assert_eq!(streams(&inactive), (None, None));
    let declared = streams(SDP);
    assert!(declared.0.is_some() && declared.1.is_some());
    assert_eq!(streams(&inactive), declared);
    assert_eq!(streams(SDP), declared);
}

#[test]
fn no_two_tracks_have_the_same_name() {
    let sdp = SDP.replace("a=msid:s u", "a=msid:s t");
    let declared = declare(&sdp, None, &mut PayloadTypes::default(), "me", |_, _| None);
    let names: Vec<_> = declared
        .lines()
        .filter(|line| line.starts_with("a=msid:"))
        .collect();
    assert_eq!(names, ["a=msid:s t-0", "a=msid:s t-1", "a=msid:s v-2"]);
}

#[test]
fn the_library_sees_one_stream_a_track_or_no_track() {
    let seen = for_library(SDP);
    assert_eq!(parse(&seen)[1].1.streams(), (Some(21), Some(22)));
    assert!(seen.contains("a=msid:s t\r\n") && !seen.contains("a=msid:s v\r\n"));
    // Without a direction both are meant.
    let bare = for_library(&SDP.replace("a=recvonly\r\n", ""));
    let section = bare.split("\r\nm=").nth(3).unwrap();
    assert!(section.contains("a=sendrecv"), "{section}");
    for other in [
        "",
        "m=",
        "\n",
        "v=0\r\nm=\r\nm=video\r\na=ssrc-group:FID 1\r\na=extmap:1\r\na=mid\r\n",
    ] {
        drop((
            for_library(other),
            parse(other),
            declare(other, Some(other), &mut PayloadTypes::default(), "c", |_, _| {
                Some(Streams::random())
            }),
        ));
    }
}
