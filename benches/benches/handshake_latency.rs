//! `cargo bench -p visavis-bench`: the handshake of every ordered pair of stacks, whole and by phase.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::{sync::Arc, time::Duration};
use visavis_bench::{
    handshake::{Handshake, Phase, Sample},
    ordered_pairs,
};
use visavis_core::{Backend, PairConfig};
use visavis_str0m::Str0m;
use visavis_webrtc_rs::WebrtcRs;

fn handshake_latency(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a Tokio runtime");
    let backends: [Arc<dyn Backend>; 2] = [Arc::new(Str0m::new()), Arc::new(WebrtcRs::new())];
    let mut group = c.benchmark_group("handshake_latency");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    for (name, stacks) in ordered_pairs(&backends) {
        let pair = runtime
            .block_on(Handshake::new(stacks, PairConfig::default()))
            .expect("a pair");
        let mut measure = |id: BenchmarkId, read: &dyn Fn(&Sample) -> Duration| {
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| {
                    runtime.block_on(async {
                        let mut sum = Duration::ZERO;
                        for _ in 0..iterations {
                            sum += read(&pair.run().await.expect("every call connects"));
                        }
                        sum
                    })
                });
            });
        };
        measure(BenchmarkId::new("total", &name), &|sample| sample.total);
        for phase in Phase::ALL {
            measure(BenchmarkId::new(phase.name(), &name), &|sample| {
                sample.phase(phase)
            });
        }
    }
    group.finish();
}

criterion_group!(benches, handshake_latency);
criterion_main!(benches);
