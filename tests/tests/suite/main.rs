//! One behaviour suite over every ordered pair of stacks, on loopback sockets and on a network in memory.
//!
//! Each test is named `case::offerer:answerer::network`, such as `trickle::str0m:webrtc-rs::memory`.

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

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use visavis_tests::{Case, On};

/// Lists cases: `module { case, case on Memory, … }`.
macro_rules! cases {
    ($($module:ident { $($case:ident $(on $on:ident)? $(known $known:expr)?),+ $(,)? })+) => {
        vec![$($(
            #[allow(unused_mut, unused_assignments)]
            {
                let mut case = Case {
                    name: stringify!($case),
                    run: |world| Box::pin($module::$case(world)),
                    on: On::Both,
                    known: None,
                };
                $(case.on = On::$on;)?
                $(case.known = Some($known);)?
                case
            }
        ),+),+]
    };
}

fn cases() -> Vec<Case> {
    cases! {
        connect {
            trickle,
            trickle_by_hand,
            full_sdp,
            full_sdp_by_hand,
            an_answer_carried_by_hand on Memory,
            checks_before_the_answer on Memory,
            the_first_check_is_the_offerers on Memory,
            candidates_before_the_description,
            end_of_candidates,
            state_order,
            descriptions,
            nothing_to_offer,
        }
        channels {
            ordered,
            unordered,
            max_retransmits,
            max_packet_life_time,
            negotiated,
            parameters_arrive,
            reliability_arrives known known::REMOTE_RELIABILITY,
            opened_later_by_either_side,
            many,
            closed_by_the_opener,
            closed_by_the_other,
            closed_before_open,
            kept_until_read,
            low_threshold,
            would_block,
            states_of_a_channel,
            closed_with_the_connection,
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
            audio_video_and_data_in_the_first_offer,
            added_in_a_call_by_the_offerer,
            added_in_a_call_by_the_answerer,
            directions,
            track_before_the_answer,
            answer_narrower_than_the_offer,
            stopped,
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
            codec_preference,
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
        }
        tracks {
            removed_and_added_20_times,
            stopped_and_added_20_times,
            added_in_mid_call_by_the_answerer_then_the_offerer,
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
        files {
            big_buck_bunny_frame_for_frame on Memory,
            bikes_frame_for_frame on Memory,
            pattern_replaced_by_a_file,
            video_added_removed_and_added_20_times,
        }
        glare {
            at_the_start,
            in_a_call,
            by_hand,
        }
        rollback {
            local_by_hand,
            local_in_a_call,
            remote_before_the_answer,
            remote_after_the_answer,
            remote_in_a_call,
            of_an_ice_restart,
            changed_description,
        }
        restart {
            by_the_offerer,
            by_the_answerer,
            again_and_again,
            while_messages_flow,
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
            wrong_state,
            provisional_answers,
            closed_peer,
        }
        hostile {
            bad_offers,
            bad_answers,
            bad_candidates,
            too_many_candidates,
            wrong_fingerprint_in_the_answer,
            wrong_fingerprint_in_the_offer,
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
            remote_close_is_prompt,
            dropped,
        }
        loss {
            blocked on Memory,
            blocked_for_a_moment on Memory,
            killed on Real,
            nobody_answers on Memory,
            failed_and_restarted on Memory,
        }
        network {
            stats,
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
            profiles_and_groups on Memory,
            nothing_in_common on Memory,
            certificates on Memory,
            packet_sizes on Memory,
        }
    }
}

fn main() -> ExitCode {
    replay::with_the_same_randomness();
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for run in cases().into_iter().flat_map(Case::runs) {
        let name = run.to_string();
        let skip = network::skip(&name);
        if let Some(reason) = skip {
            eprintln!("{name}: left out: {reason}");
        }
        let trial = Trial::test(name, move || Ok(run.run()?));
        trials.push(trial.with_ignored_flag(skip.is_some()));
    }
    assert!(!trials.is_empty(), "a suite without cases proves nothing");
    trials.extend(replay::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}
