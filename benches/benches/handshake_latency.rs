//! `cargo bench -p visavis-bench --bench handshake_latency`: the handshake of every ordered pair of stacks, whole and by
//! phase.

mod stacks;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use stacks::pairs;
use std::time::Duration;
use visavis_bench::{
    scenario::handshake::{Handshake, Phase, Sample},
    worker,
};
use visavis_core::PairConfig;

fn handshake_latency(c: &mut Criterion) {
    let runtime = worker::runtime(false).expect("a Tokio runtime");
    let mut group = c.benchmark_group("handshake_latency");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    for (name, site) in pairs() {
        let pair = runtime.block_on(Handshake::new(&site, PairConfig::default()));
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
