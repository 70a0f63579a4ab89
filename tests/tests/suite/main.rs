//! One behaviour suite over every ordered pair of stacks, on loopback sockets and on a network in memory.
//!
//! Each test is named `case::offerer:answerer::network`, such as `trickle::str0m:webrtc-rs::memory`.

mod bandwidth;
mod channel_rules;
mod channels;
mod connect;
mod files;
mod flow;
mod frames;
mod glare;
mod hang_up;
mod hostile;
mod hostile_frames;
mod keyframes;
mod known;
mod loss;
mod lossy;
mod media;
mod nats;
mod negotiation;
mod network;
mod pictures;
mod recovery;
mod replay;
mod restart;
mod rollback;
mod rough;
mod round_trips;
mod security;
mod states;
mod tracks;
mod wpt;

use libtest_mimic::{Arguments, Trial};
use std::{env, process::ExitCode};
use visavis_tests::{Case, On, conformance, runner};

/// Lists cases: `module { case, case on Memory follows ["a file of web-platform-tests"] known why, … }`.
macro_rules! cases {
    ($($module:ident {
        $($case:ident $(on $on:ident)? $(follows [$($file:literal),+ $(,)?])? $(known $known:expr)?),+ $(,)?
    })+) => {
        vec![$($(
            #[allow(unused_mut, unused_assignments)]
            {
                let mut case = Case {
                    name: stringify!($case),
                    run: |world| Box::pin($module::$case(world)),
                    on: On::Both,
                    known: None,
                    follows: &[],
                    module: stringify!($module),
                    source: include_str!(concat!(stringify!($module), ".rs")),
                };
                $(case.on = On::$on;)?
                $(case.follows = &[$($file),+];)?
                $(case.known = Some($known);)?
                case
            }
        ),+),+]
    };
}

fn cases() -> Vec<Case> {
    cases! {
        connect {
            trickle follows ["protocol/candidate-exchange.https.html"],
            trickle_by_hand follows [
                "RTCPeerConnection-createOffer.html",
                "protocol/candidate-exchange.https.html",
            ],
            full_sdp,
            full_sdp_by_hand follows ["RTCPeerConnection-candidate-in-sdp.https.html"],
            an_answer_carried_by_hand on Memory,
            checks_before_the_answer on Memory,
            the_first_check_is_the_offerers on Memory,
            candidates_before_the_description,
            end_of_candidates follows ["RTCPeerConnection-addIceCandidate.html"],
            state_order follows [
                "RTCPeerConnection-connectionState.https.html",
                "RTCPeerConnection-iceConnectionState.https.html",
                "RTCPeerConnection-onsignalingstatechanged.https.html",
                "protocol/ice-state.https.html",
                "RTCDtlsTransport-state.html",
            ],
            descriptions follows [
                "RTCPeerConnection-setLocalDescription-parameterless.https.html",
                "RTCPeerConnection-description-attributes-timing.https.html",
            ],
            nothing_to_offer,
        }
        channels {
            ordered follows ["RTCDataChannel-send.html", "datachannel-emptystring.html"],
            unordered,
            max_retransmits,
            max_packet_life_time,
            negotiated follows ["RTCPeerConnection-createDataChannel.html"],
            parameters_arrive follows ["RTCPeerConnection-ondatachannel.html"],
            reliability_arrives follows [
                "RTCPeerConnection-ondatachannel.html",
                "RTCDataChannelInit-maxRetransmits-enforce-range.html",
                "RTCDataChannelInit-maxPacketLifeTime-enforce-range.html",
            ] known known::REMOTE_RELIABILITY,
            opened_later_by_either_side,
            many,
            closed_by_the_opener follows ["RTCDataChannel-close.html", "RTCDataChannel-send-close.html"],
            closed_by_the_other follows ["RTCDataChannel-close.html"],
            closed_before_open,
            kept_until_read follows ["RTCPeerConnection-ondatachannel.html"],
            low_threshold follows ["RTCDataChannel-bufferedAmount.html"],
            would_block,
            states_of_a_channel follows ["RTCDataChannel-send.html"],
            closed_with_the_connection follows [
                "RTCDataChannel-close.html",
                "RTCPeerConnection-close.html",
                "protocol/dtls-close.html",
            ],
        }
        channel_rules {
            attributes follows ["RTCPeerConnection-createDataChannel.html"],
            too_long_names follows ["RTCPeerConnection-createDataChannel.html"],
            longest_names follows ["RTCPeerConnection-createDataChannel.html"] known known::LONGEST_NAMES,
            ids_by_dtls_role follows ["RTCDataChannel-id.html", "protocol/dtls-setup.https.html"],
            answerer_as_dtls_server follows ["protocol/dtls-setup.https.html"] known known::ANSWERERS_ROLE,
            buffered_bytes on Memory follows ["RTCDataChannel-bufferedAmount.html"],
            remote_message_size follows ["RTCSctpTransport-maxMessageSize.html"],
            one_of_many_closed,
            handle_dropped,
            dropped_futures,
            waits_end follows ["RTCPeerConnection-close.html"],
            given_up_by_retransmits on Memory,
            given_up_by_life_time on Memory,
            announced_once follows ["RTCPeerConnection-ondatachannel.html"],
            sent_at_the_opening,
        }
        flow {
            bulk,
            bulk_both_ways,
            small_messages,
            stalled_reader,
            stalled_for_long on Memory,
            full_both_ways,
            echo_to_a_late_reader,
        }
        media {
            audio_video_and_data_in_the_first_offer follows [
                "RTCPeerConnection-addTransceiver.https.html",
                "RTCPeerConnection-ontrack.https.html",
            ],
            added_in_a_call_by_the_offerer follows ["RTCPeerConnection-transceivers.https.html"],
            added_in_a_call_by_the_answerer,
            directions follows ["RTCRtpTransceiver-direction.html"],
            track_before_the_answer follows [
                "RTCPeerConnection-setRemoteDescription-offer.html",
                "RTCPeerConnection-ontrack.https.html",
            ],
            answer_narrower_than_the_offer,
            stopped follows ["RTCRtpTransceiver-stop.html"],
            media_first_and_data_later known known::LATE_SCTP,
            offered_again_by_each_side,
        }
        frames {
            frames_arrive,
            frames_both_ways,
            frames_to_the_offerer,
            window,
            timestamp_wrap,
            sender_time,
            codec_preference follows ["RTCRtpTransceiver-setCodecPreferences.html"],
            no_codec_in_common,
            nobody_reads,
        }
        keyframes {
            keyframe_requests,
            lost_keyframe on Memory,
        }
        lossy {
            loss_1_percent on Memory,
            loss_5_percent on Memory,
            loss_on_a_long_path on Memory,
        }
        tracks {
            removed_and_added_20_times follows ["RTCPeerConnection-removeTrack.https.html"],
            stopped_and_added_20_times,
            added_in_mid_call_by_the_answerer_then_the_offerer follows [
                "RTCPeerConnection-addTransceiver-renegotiation.https.html",
            ],
            directions_with_frames,
            codec_changed_in_a_call,
            hang_up_with_media,
        }
        pictures {
            verified_both_ways,
            in_step_for_ten_minutes on Memory,
            decoded_at_1_percent_loss on Memory,
            decoded_at_5_percent_loss on Memory,
            recovers_by_a_keyframe on Memory,
            media_in_every_call,
        }
        bandwidth {
            a_bottleneck on Memory,
            a_bottleneck_with_a_long_queue on Memory,
            a_clean_path_is_not_limited on Memory,
        }
        files {
            big_buck_bunny_frame_for_frame on Memory,
            bikes_frame_for_frame on Memory,
            pattern_replaced_by_a_file follows ["RTCRtpSender-replaceTrack.https.html"],
            video_added_removed_and_added_20_times,
        }
        glare {
            at_the_start follows ["RTCPeerConnection-perfect-negotiation.https.html"],
            in_a_call follows ["RTCPeerConnection-perfect-negotiation.https.html"],
            by_hand follows ["RTCPeerConnection-setRemoteDescription-rollback.html"],
        }
        rollback {
            local_by_hand follows ["RTCPeerConnection-setLocalDescription-rollback.html"],
            local_in_a_call,
            remote_before_the_answer follows ["RTCPeerConnection-setRemoteDescription-rollback.html"],
            remote_after_the_answer,
            remote_in_a_call follows ["RTCPeerConnection-setRemoteDescription-rollback.html"],
            of_an_ice_restart,
            changed_description follows [
                "RTCPeerConnection-setLocalDescription-offer.html",
                "RTCPeerConnection-setLocalDescription-answer.html",
            ],
        }
        restart {
            by_the_offerer follows ["RTCPeerConnection-restartIce.https.html"],
            by_the_answerer follows ["RTCPeerConnection-restartIce.https.html"],
            again_and_again,
            while_messages_flow follows ["RTCDataChannel-iceRestart.html"],
        }
        negotiation {
            asked_once follows ["RTCPeerConnection-onnegotiationneeded.html"],
            asked_when_stable follows ["RTCPeerConnection-onnegotiationneeded.html"],
            asked_by_each_change follows ["RTCPeerConnection-onnegotiationneeded.html"],
            asked_after_a_rollback follows ["RTCPeerConnection-onnegotiationneeded.html"],
            operations_queue follows ["RTCPeerConnection-operations.https.html"],
            candidates_of_one_side follows ["protocol/candidate-exchange.https.html"],
            candidates_by_mid_or_index follows ["RTCPeerConnection-addIceCandidate.html"],
            gathering_again follows ["RTCPeerConnection-iceGatheringState.html"],
            rolled_back_transceivers follows [
                "RTCPeerConnection-setRemoteDescription-rollback.html",
                "RTCPeerConnection-setDescription-transceiver.html",
            ],
            transceivers_in_order follows ["RTCPeerConnection-getTransceivers.html"],
            direction_is_a_wish follows ["RTCRtpTransceiver-direction.html"],
            removed_tracks follows ["RTCPeerConnection-removeTrack.https.html"],
            added_tracks follows ["RTCPeerConnection-addTrack.https.html"],
            answer_wider_than_the_offer,
            tracks_where_they_are_wanted follows ["protocol/transceiver-direction-match.html"],
            refused_frames,
            refused_preferences follows ["RTCRtpTransceiver-setCodecPreferences.html"],
            waits_end_with_the_connection,
            subscriptions,
            closed_in_each_state,
        }
        recovery {
            address_of_the_offerer_changes on Memory,
            address_of_the_answerer_changes on Memory,
            both_addresses_change on Memory,
            pictures_after_an_address_change on Memory,
            a_pair_survives_an_address_change on Memory,
            the_interface_in_use_goes on Memory,
            the_interface_in_use_goes_without_a_restart on Memory,
            another_interface_comes on Memory,
            between_two_networks on Memory,
            heals_without_a_restart on Memory,
            restarts_by_itself on Memory,
            restarts_over_slow_signaling on Memory,
            restarted_by_hand_alone on Memory,
            failed_for_long_and_restarted on Memory,
        }
        nats {
            offerer_behind_a_nat on Memory,
            answerer_behind_a_nat on Memory,
            nat_rebinding on Memory,
            both_behind_nats on Memory,
        }
        states {
            wrong_state follows [
                "RTCPeerConnection-setLocalDescription.html",
                "RTCPeerConnection-setRemoteDescription.html",
                "RTCPeerConnection-setRemoteDescription-answer.html",
                "RTCPeerConnection-createAnswer.html",
            ],
            provisional_answers follows [
                "RTCPeerConnection-setLocalDescription-pranswer.html",
                "RTCPeerConnection-setRemoteDescription-pranswer.html",
            ],
            closed_peer follows ["RTCPeerConnection-createDataChannel.html"],
        }
        hostile {
            bad_offers,
            bad_answers,
            bad_candidates follows [
                "RTCPeerConnection-addIceCandidate.html",
                "RTCPeerConnection-addTcpIceCandidate.html",
            ],
            too_many_candidates,
            wrong_fingerprint_in_the_answer follows ["protocol/dtls-fingerprint-validation.html"],
            wrong_fingerprint_in_the_offer follows ["protocol/dtls-fingerprint-validation.html"],
            mutated_in_a_call,
            mutated_at_the_start,
        }
        hostile_frames {
            mutated_with_media,
            direction_left_out,
        }
        hang_up {
            call_again,
            in_every_phase,
            pair_states,
            failed_call_then_a_good_one on Memory,
            remote_close_is_prompt follows ["protocol/dtls-close.html"],
            dropped,
        }
        loss {
            blocked on Memory follows ["RTCPeerConnection-iceConnectionState-disconnected.https.html"],
            blocked_for_a_moment on Memory,
            idle_for_long on Memory,
            killed on Real,
            nobody_answers on Memory,
            failed_and_restarted on Memory,
        }
        network {
            stats follows ["RTCPeerConnection-getStats.https.html"],
            ipv6 on Real,
            several_addresses,
            address_families_mixed on Real,
            useless_candidates,
            unreachable_ipv6 on Real,
        }
        rough {
            handshakes_at_10_percent_loss on Memory,
            handshakes_at_30_percent_loss on Memory,
            handshakes_on_a_rough_path on Memory,
            handshakes_with_one_bad_direction on Memory,
            bulk_on_a_rough_path on Memory,
            pictures_after_a_partition on Memory,
            round_trips_of_a_clean_path on Memory,
        }
        round_trips {
            round_trips on Memory,
        }
        security {
            profiles_and_groups on Memory follows ["protocol/crypto-suite.https.html"],
            nothing_in_common on Memory,
            certificates on Memory,
            packet_sizes on Memory,
        }
    }
}

fn main() -> ExitCode {
    let page = || conformance::page(&cases(), wpt::WITHOUT);
    if env::args().any(|argument| argument == "--conformance") {
        print!("{}", page());
        return ExitCode::SUCCESS;
    }
    replay::with_the_same_randomness();
    let arguments = Arguments::from_args();
    let mut trials = vec![Trial::test("conformance_page", move || {
        Ok(conformance::check(&page())?)
    })];
    let runs: Vec<_> = cases().into_iter().flat_map(Case::runs).collect();
    assert!(!runs.is_empty(), "a suite without cases proves nothing");
    for run in runs {
        let name = run.to_string();
        let skip = network::skip(&name);
        if let Some(reason) = skip {
            eprintln!("{name}: left out: {reason}");
        }
        let trial = Trial::test(name, move || Ok(run.run()?));
        trials.push(trial.with_ignored_flag(skip.is_some()));
    }
    trials.extend(replay::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        println!("{}", runner::closing_line());
    }
    conclusion.exit_code()
}
