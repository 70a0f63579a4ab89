//! `cargo bench -p visavis-bench --bench frame_throughput`: complete frames a second of every ordered pair of stacks.

mod stacks;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stacks::pairs;
use std::time::Duration;
use visavis_bench::{
    scenario::{
        content::Frames,
        frames::{FrameThroughput, WINDOW},
    },
    work::Content,
    worker,
};

fn frame_throughput(c: &mut Criterion) {
    let runtime = worker::runtime(false).expect("a Tokio runtime");
    let mut group = c.benchmark_group(format!("frame_throughput_{WINDOW}_under_way"));
    group
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .throughput(Throughput::Elements(1));
    for content in [1_200, 12_000, 60_000].map(Content::Size) {
        let frames = Frames::new(content, None).expect("frames of one size");
        for (name, site) in pairs() {
            let mut call = runtime
                .block_on(FrameThroughput::new(&site, frames.clone(), WINDOW))
                .expect("every call connects");
            group.bench_function(BenchmarkId::new(content.to_string(), &name), |bencher| {
                bencher.iter_custom(|iterations| {
                    runtime
                        .block_on(call.run(iterations))
                        .expect("every frame arrives")
                });
            });
            runtime.block_on(call.end());
        }
    }
    group.finish();
}

criterion_group!(benches, frame_throughput);
criterion_main!(benches);
