//! `cargo bench -p visavis-bench --bench frame_throughput`: complete frames a second of every ordered pair of stacks.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::{sync::Arc, time::Duration};
use visavis_bench::{
    frames::{FrameThroughput, SIZES, WINDOW},
    ordered_pairs,
};
use visavis_core::Backend;
use visavis_str0m::Str0m;
use visavis_webrtc_rs::WebrtcRs;

fn frame_throughput(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a Tokio runtime");
    let backends: [Arc<dyn Backend>; 2] = [Arc::new(Str0m::new()), Arc::new(WebrtcRs::new())];
    let mut group = c.benchmark_group(format!("frame_throughput_{WINDOW}_under_way"));
    group
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .throughput(Throughput::Elements(1));
    for size in SIZES {
        for (name, stacks) in ordered_pairs(&backends) {
            let mut call = runtime
                .block_on(FrameThroughput::new(stacks, size))
                .expect("every call connects");
            group.bench_function(BenchmarkId::new(format!("{size} B"), &name), |bencher| {
                bencher.iter_custom(|iterations| runtime.block_on(call.run(iterations)));
            });
            runtime.block_on(call.end()).expect("the call was up");
        }
    }
    group.finish();
}

criterion_group!(benches, frame_throughput);
criterion_main!(benches);
