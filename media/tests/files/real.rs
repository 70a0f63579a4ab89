//! Files that others made, compared with what ffmpeg decodes from them.

use std::{path::PathBuf, process::Command, time::Duration};
use visavis_core::media::VideoFrame;
use visavis_media::source::file::{Repeat, open_video};

/// The directory with the videos, or None if they cannot be had and nobody insists.
fn videos() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/fetch");
    let output = Command::new(script)
        .output()
        .unwrap_or_else(|error| panic!("{script} (needs python3): {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Some(String::from_utf8(output.stdout).unwrap().trim().into());
    }
    assert!(std::env::var_os("VISAVIS_REQUIRE_ALL").is_none(), "{words}");
    println!("left out: {words}");
    None
}

/// FNV-1a, eight bytes at a time, over the visible pixels of all pictures.
fn hash(frame: &VideoFrame, hash: &mut u64) {
    let chroma = (frame.width.div_ceil(2), frame.height.div_ceil(2));
    let sizes = [(frame.width, frame.height), chroma, chroma];
    for ((plane, stride), (width, height)) in frame.planes.iter().zip(frame.strides).zip(sizes) {
        for row in plane.chunks(stride).take(height) {
            for eight in row[..width].chunks_exact(8) {
                let value = u64::from_le_bytes(eight.try_into().unwrap());
                *hash = (*hash ^ value).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
}

/// The luma plane in one number: the sum of its pixels, each with a weight by its place.
fn signature(frame: &VideoFrame) -> u64 {
    let rows = frame.planes[0]
        .chunks(frame.strides[0])
        .take(frame.height)
        .enumerate();
    let row_sum = |(y, row): (usize, &[u8])| -> u64 {
        let pixels = row[..frame.width].iter().enumerate();
        pixels
            .map(|(x, pixel)| (7 * x + 13 * y) as u64 % 251 * u64::from(*pixel))
            .sum()
    };
    rows.map(row_sum).sum()
}

/// All pictures, the times checked.
fn play(
    name: &str,
    size: (usize, usize),
    mut each: impl FnMut(usize, &VideoFrame),
) -> Option<(usize, Vec<String>)> {
    let mut file = open_video(&videos()?.join(name), Repeat::Once).unwrap();
    assert_eq!(file.source.size(), size);
    assert_eq!(file.source.interval(), Duration::from_millis(40));
    let mut count = 0;
    while let Some(frame) = file.source.next().unwrap() {
        assert_eq!((frame.width, frame.height), size);
        assert_eq!(frame.time, Duration::from_millis(40) * count);
        each(count as usize, &frame);
        count += 1;
    }
    assert!(file.source.next().unwrap().is_none());
    Some((count as usize, file.notes))
}

#[test]
fn main_profile_with_sound() {
    let mut seen = 0xcbf2_9ce4_8422_2325;
    let Some((count, notes)) = play("bigbuckbunny.mp4", (1280, 720), |_, frame| hash(frame, &mut seen))
    else {
        return;
    };
    assert_eq!(count, 132);
    assert_eq!(notes, ["the AAC sound track is skipped: visavis sends Opus"]);
    // Of `ffmpeg -i bigbuckbunny.mp4 -f rawvideo -pix_fmt yuv420p -fps_mode passthrough -`.
    assert_eq!(seen, 0x69a8_fe3c_a9c8_028b, "{seen:#x}");
}

#[test]
fn high_profile_with_b_frames() {
    let compare = |number: usize, frame: &VideoFrame| {
        let difference = signature(frame).abs_diff(SIGNATURES[number]);
        assert!(difference < 20_000, "picture {number}: {difference}");
    };
    let Some((count, notes)) = play("bikes.mp4", (640, 272), compare) else {
        return;
    };
    assert_eq!(count, SIGNATURES.len());
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn a_loop_goes_on_in_time() {
    let Some(videos) = videos() else {
        return;
    };
    let mut source = open_video(&videos.join("bikes.mp4"), Repeat::Loop)
        .unwrap()
        .source;
    let mut first = None;
    for number in 0..260 {
        let frame = source.next().unwrap().unwrap();
        assert_eq!(frame.time, Duration::from_millis(40) * number);
        match number {
            0 => first = Some(signature(&frame)),
            250 => assert_eq!(Some(signature(&frame)), first),
            _ => {}
        }
    }
}

/// Of ffmpeg's pictures of bikes.mp4. openh264 filters the edges of blocks in B pictures a little differently: one
/// step in up to a hundred pixels, which is at most 5,300 here. Neighbours are at least 67,000 apart.
#[rustfmt::skip]
const SIGNATURES: [u64; 250] = [
    2_904_062_668, 2_916_090_895, 2_916_465_691, 2_909_363_937, 2_900_236_297, 2_894_008_283, 2_886_941_246,
    2_880_142_452, 2_873_903_424, 2_878_021_195, 2_892_855_573, 2_905_013_922, 2_910_893_856, 2_914_241_962,
    2_916_307_879, 2_902_221_877, 2_885_583_689, 2_875_621_575, 2_867_222_536, 2_864_363_421, 2_857_291_124,
    2_856_504_135, 2_851_365_752, 2_848_340_580, 2_843_061_318, 2_840_125_192, 2_824_669_191, 2_830_319_070,
    2_839_124_999, 2_849_728_644, 1_607_794_633, 1_615_768_391, 1_643_090_809, 1_654_444_588, 1_676_329_376,
    1_687_626_619, 1_702_487_579, 1_727_713_562, 1_757_634_806, 1_779_158_703, 1_783_713_442, 1_786_702_205,
    1_792_580_807, 1_796_274_174, 1_822_188_108, 1_860_762_506, 1_899_463_507, 1_954_251_141, 1_997_566_224,
    2_013_106_456, 2_036_189_554, 2_041_028_790, 2_046_351_409, 2_042_036_102, 2_053_853_505, 2_055_978_981,
    2_060_928_707, 2_051_997_186, 2_047_296_939, 2_056_717_107, 2_070_200_804, 2_080_231_313, 2_101_737_591,
    2_101_601_321, 2_117_404_993, 2_151_132_461, 2_182_723_390, 2_191_001_816, 2_232_791_051, 2_261_968_428,
    2_272_975_357, 2_278_684_788, 2_280_800_111, 2_287_312_090, 2_253_952_193, 2_173_935_143, 1_723_558_248,
    1_772_324_181, 1_810_162_229, 1_860_351_539, 1_927_626_402, 1_995_351_375, 2_098_683_941, 2_113_038_106,
    2_107_533_105, 2_124_300_090, 2_118_167_075, 2_066_663_322, 2_076_089_611, 2_067_037_416, 2_053_872_799,
    2_020_562_727, 2_007_437_407, 1_976_553_355, 1_942_823_761, 1_940_623_577, 2_025_268_866, 2_050_130_427,
    2_066_849_333, 2_112_281_049, 2_077_135_587, 1_978_790_271, 1_903_099_035, 1_857_713_427, 1_833_431_233,
    1_814_566_828, 1_794_720_346, 1_767_513_853, 1_731_160_185, 1_734_109_202, 1_729_065_768, 1_724_415_158,
    1_712_498_854, 1_716_069_913, 1_715_315_405, 1_716_700_182, 1_711_575_117, 1_715_252_616, 1_714_937_912,
    1_716_655_482, 1_712_854_784, 1_716_630_898, 1_715_486_708, 1_714_018_745, 1_712_796_751, 1_718_107_607,
    1_715_173_254, 1_715_583_533, 1_712_302_883, 1_717_028_778, 1_716_176_827, 1_718_300_386, 1_714_081_331,
    1_718_330_754, 1_717_385_941, 1_719_351_645, 1_717_541_419, 2_319_458_794, 2_334_670_592, 2_350_072_469,
    2_376_821_655, 2_384_268_833, 2_393_019_356, 2_404_097_370, 2_421_221_471, 2_431_637_153, 2_454_850_369,
    2_457_805_434, 2_461_762_951, 2_459_147_270, 2_466_849_103, 2_466_917_097, 2_472_751_631, 2_467_727_095,
    2_478_182_468, 2_473_833_330, 2_474_100_706, 2_470_027_729, 2_473_829_575, 2_464_737_938, 2_468_629_227,
    2_459_418_330, 2_463_894_090, 2_459_448_729, 2_464_331_000, 2_462_533_987, 2_471_334_295, 2_477_008_319,
    2_480_460_032, 2_479_920_524, 2_490_080_880, 2_492_154_422, 2_499_731_069, 2_497_925_796, 2_502_049_400,
    2_503_274_943, 2_506_117_768, 2_498_974_589, 2_505_749_163, 2_507_413_522, 2_509_537_013, 2_506_898_322,
    2_512_246_908, 2_493_704_032, 2_474_763_519, 2_460_546_386, 2_442_050_538, 2_361_080_188, 2_342_159_360,
    2_309_958_116, 2_283_824_846, 2_268_712_953, 2_259_687_067, 2_260_842_063, 2_246_198_192, 2_200_742_559,
    2_202_046_095, 2_212_555_779, 2_247_847_512, 2_279_167_298, 2_296_405_092, 2_316_288_227, 2_322_476_053,
    2_321_896_757, 2_343_995_391, 2_386_148_755, 2_319_994_808, 2_283_645_427, 2_317_907_461, 2_358_286_625,
    2_384_359_967, 2_396_975_520, 2_456_571_022, 2_485_136_669, 2_531_332_148, 2_536_803_045, 2_544_545_943,
    2_546_950_884, 2_549_280_576, 2_547_469_042, 2_555_468_224, 2_556_297_439, 2_559_209_209, 2_556_539_652,
    2_563_088_811, 2_563_319_950, 2_565_024_219, 2_562_044_039, 2_567_251_519, 2_567_663_283, 2_568_456_313,
    2_566_589_069, 2_571_875_564, 2_571_443_984, 2_572_544_903, 2_570_019_384, 2_574_314_641, 2_573_523_404,
    2_574_172_375, 2_572_626_109, 2_574_585_854, 2_573_004_037, 1_852_475_009, 1_854_958_946, 1_855_945_534,
    1_858_257_993, 1_854_297_165, 1_854_026_010, 1_853_370_122, 1_854_506_884,
];
