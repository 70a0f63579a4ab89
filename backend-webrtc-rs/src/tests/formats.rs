use super::*;

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

#[test]
fn a_description_is_read() {
    let parsed = parse(SDP);
    let mids: Vec<_> = parsed.iter().map(|(mid, _)| mid.as_str()).collect();
    assert_eq!(mids, ["a", "v", "w", "d"]);
    let (audio, video) = (&parsed[0].1, &parsed[1].1);
    assert_eq!(audio.get(111), Some(Format::Codec(Codec::Opus)));
    assert_eq!(
        (audio.get(0), audio.mid_extension, audio.streams()),
        (None, Some(4), (Some(7), None))
    );
    assert_eq!(video.payload_type(Codec::H264), Some(102));
    assert_eq!((video.payload_type(Codec::Vp9), video.get(100)), (None, None));
    assert_eq!(
        (video.rtx(102), video.rtx(96), video.rtx(98)),
        (Some(103), Some(97), None)
    );
    assert_eq!(video.get(97), Some(Format::Rtx(96)));
    assert!(video.has_nack(Codec::Vp8) && !video.has_nack(Codec::H264) && !audio.has_nack(Codec::Opus));
    assert_eq!(video.streams(), (Some(21), Some(22)));
}
