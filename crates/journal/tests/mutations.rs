//! Breaks a signed record in every way at hand; each must be detected and placed.
//!
//! Placed means:
//! - a flipped bit, a cut or a moved frame in a segment: exactly the event whose frame (or the mark
//!   before it) is hit; for a seal the event after the segment's last;
//! - a careful change, all checksums made good: exactly the event, told by its stored hash;
//! - a careful change of event and stored hash: between two checkpoints that have the event between;
//! - a stored hash: exactly the first event below it;
//! - a checkpoint: the size of the checkpoint before it, where what it alone vouches for begins.
//!
//! How many and from which seed: `PALISADE_MUTATIONS=100000:7` (by default 2,000 from seed 1).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use identity::{Ed25519Key, Signer, Time};
use journal::frame::{self, Frame, HEADER_BYTES, Header, Seal};
use journal::verify::{Finding, Options as VerifyOptions, VerifyError, verify};
use journal::{Options, Record};
use ledger::{Actor, Event, Kind, VerifierKey, leaf_hash};
use zeroize::Zeroizing;

#[test]
fn every_mutation_is_detected_and_placed() {
    let (n_mutations, seed) = wanted();
    let original = Original::new();
    let mut random = Random(seed);
    let mut by_kind = BTreeMap::new();
    for round in 0..n_mutations {
        let mutation = original.mutation(&mut random);
        mutation.apply(original.dir.path());
        let found = original.verify();
        original.restore(&mutation);
        let Err(VerifyError::Bad(finding)) = &found else {
            panic!("seed {seed}, mutation {round}: {} was not detected: {found:?}", mutation.what)
        };
        let placed = mutation.place.has(finding);
        assert!(
            placed,
            "seed {seed}, mutation {round}: {} is said to be at {finding}",
            mutation.what
        );
        *by_kind.entry(mutation.kind).or_insert(0_u64) += 1;
    }
    assert!(original.verify().is_ok(), "the original is whole again");
    println!("{n_mutations} mutations from seed {seed}, all detected and placed: {by_kind:?}");
}

/// How many mutations, and from which seed.
fn wanted() -> (u64, u64) {
    #[allow(
        clippy::disallowed_methods,
        reason = "a test has no configuration, and the full count is run by hand"
    )]
    let text = std::env::var("PALISADE_MUTATIONS").unwrap_or_default();
    let (count, seed) = text.split_once(':').unwrap_or((&text, "1"));
    (count.parse().unwrap_or(2000), seed.parse().unwrap_or(1))
}

struct Original {
    dir: tempfile::TempDir,
    key: VerifierKey,
    segments: Vec<Segment>,
    /// `tiles/0`, `tiles/1` …
    levels: Vec<Vec<u8>>,
    history: Vec<u8>,
    current: Vec<u8>,
    /// The size of each checkpoint and where its note ends in the history.
    checkpoints: Vec<(u64, usize)>,
}

struct Segment {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Header,
    /// Each frame's beginning, end and the number of its (or the next) event.
    frames: Vec<Placed>,
}

#[derive(Clone)]
struct Placed {
    start: usize,
    end: usize,
    event: u64,
    is_event: bool,
}

/// A file with other bytes (or none), and where the fault must be found.
struct Mutation {
    kind: &'static str,
    what: String,
    files: Vec<(PathBuf, Option<Vec<u8>>)>,
    place: Place,
}

enum Place {
    At(u64),
    Around(u64),
}

impl Place {
    fn has(&self, finding: &Finding) -> bool {
        match self {
            Self::At(event) => finding.event == *event,
            Self::Around(event) => finding.event <= *event && *event < finding.until,
        }
    }
}

impl Mutation {
    fn new(
        kind: &'static str,
        what: String,
        path: &Path,
        bytes: Option<Vec<u8>>,
        place: Place,
    ) -> Self {
        Self { kind, what, files: vec![(path.to_path_buf(), bytes)], place }
    }

    fn apply(&self, dir: &Path) {
        for (path, bytes) in &self.files {
            match bytes {
                Some(bytes) => fs::write(dir.join(path), bytes).unwrap(),
                None => fs::remove_file(dir.join(path)).unwrap(),
            }
        }
    }
}

impl Original {
    /// 1,100 events in some fifteen segments, with checkpoints at odd sizes, the last over all.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let signer = Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap();
        let key = VerifierKey::new("example.com/log", signer.public_key()).unwrap();
        let options = Options { segment_bytes: 8192, queue_events: 1000, tail_events: 10 };
        let (record, _) = Record::open(dir.path(), key.clone(), options).unwrap();
        let mut random = Random(42);
        let mut n_events = 0;
        while n_events < 1100 {
            let n_more = 1 + random.below(40);
            let events =
                (n_events..n_events + n_more).map(|number| event(number, &mut random)).collect();
            record.append_and_wait(events).unwrap();
            n_events += n_more;
            if random.below(4) == 0 || n_events >= 1100 {
                let pending = record.pending_checkpoint().unwrap().unwrap();
                let note = pending.checkpoint.sign(&signer).unwrap().to_string();
                record.store_checkpoint(note.as_bytes()).unwrap();
            }
        }
        record.close();
        let read = |path: &str| fs::read(dir.path().join(path)).unwrap();
        let (history, current) = (read("checkpoints"), read("checkpoint"));
        let levels = vec![read("tiles/0"), read("tiles/1")];
        let checkpoints = checkpoints(&history);
        let mut paths: Vec<PathBuf> = fs::read_dir(dir.path().join("segments"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let segments: Vec<Segment> =
            paths.iter().map(|path| Segment::read(dir.path(), path)).collect();
        assert!(segments.len() > 8 && checkpoints.len() > 5);
        Self { dir, key, segments, levels, history, current, checkpoints }
    }

    fn verify(&self) -> Result<(), VerifyError> {
        let options = VerifyOptions { threads: 1, ..VerifyOptions::default() };
        verify(self.dir.path(), &self.key, &options).map(drop)
    }

    fn restore(&self, mutation: &Mutation) {
        for (path, _) in &mutation.files {
            fs::write(self.dir.path().join(path), self.bytes(path)).unwrap();
        }
    }

    fn bytes(&self, path: &Path) -> &[u8] {
        match path.to_str().unwrap() {
            "checkpoints" => &self.history,
            "checkpoint" => &self.current,
            "tiles/0" => &self.levels[0],
            "tiles/1" => &self.levels[1],
            _ => &self.segments.iter().find(|segment| segment.path == path).unwrap().bytes,
        }
    }

    fn mutation(&self, random: &mut Random) -> Mutation {
        match random.below(12) {
            0 | 1 => self.flip(random),
            2 => self.cut(random),
            3 => self.remove(random),
            4 => self.drop_frame(random),
            5 => self.swap_frames(random),
            6 => self.change_carefully(random),
            7 => self.drop_carefully(random),
            8 => self.swap_carefully(random),
            9 => self.rewrite(random),
            10 => self.drop_or_swap_checkpoints(random),
            _ => self.swap_files_or_hashes(random),
        }
    }

    /// Any file, with the place of a fault at one of its bytes.
    fn any_byte(&self, random: &mut Random) -> (PathBuf, usize, Place) {
        match random.below(6) {
            0..3 => {
                let segment = random.pick(&self.segments);
                let at = random.index(segment.bytes.len());
                (segment.path.clone(), at, Place::At(segment.event_at(at)))
            }
            3 => {
                let level = random.index(self.levels.len());
                let at = random.index(self.levels[level].len());
                let event = u64::try_from(at / 32).unwrap() << (8 * level);
                (format!("tiles/{level}").into(), at, Place::At(event))
            }
            4 => {
                let at = random.index(self.history.len());
                let idx = self.checkpoints.partition_point(|(_, end)| *end <= at);
                ("checkpoints".into(), at, Place::At(self.size_before(idx)))
            }
            _ => {
                let before_last = self.checkpoints[self.checkpoints.len() - 2].0;
                ("checkpoint".into(), random.index(self.current.len()), Place::At(before_last))
            }
        }
    }

    fn size_before(&self, idx: usize) -> u64 {
        idx.checked_sub(1).map_or(0, |before| self.checkpoints[before].0)
    }

    fn flip(&self, random: &mut Random) -> Mutation {
        let (path, at, place) = self.any_byte(random);
        let mut bytes = self.bytes(&path).to_vec();
        bytes[at] ^= 1 << random.below(8);
        Mutation::new(
            "flip",
            format!("a flipped bit in byte {at} of {}", path.display()),
            &path,
            Some(bytes),
            place,
        )
    }

    fn cut(&self, random: &mut Random) -> Mutation {
        let (path, at, place) = self.any_byte(random);
        let bytes = self.bytes(&path)[..at].to_vec();
        Mutation::new(
            "cut",
            format!("{} cut to {at} bytes", path.display()),
            &path,
            Some(bytes),
            place,
        )
    }

    fn remove(&self, random: &mut Random) -> Mutation {
        if random.below(3) > 0 {
            let segment = random.pick(&self.segments);
            let place = Place::At(segment.header.first);
            return Mutation::new(
                "remove",
                format!("{} removed", segment.path.display()),
                &segment.path,
                None,
                place,
            );
        }
        let path = PathBuf::from(format!("tiles/{}", random.below(2)));
        Mutation::new("remove", format!("{} removed", path.display()), &path, None, Place::At(0))
    }

    fn drop_frame(&self, random: &mut Random) -> Mutation {
        let segment = random.pick(&self.segments);
        let Placed { start, end, event, .. } = segment.pick_event(random);
        let bytes = [&segment.bytes[..start], &segment.bytes[end..]].concat();
        Mutation::new(
            "drop",
            format!("event {event} dropped"),
            &segment.path,
            Some(bytes),
            Place::At(event),
        )
    }

    fn swap_frames(&self, random: &mut Random) -> Mutation {
        let segment = random.pick(&self.segments);
        let (a, b) = segment.pick_two(random);
        let bytes = [
            &segment.bytes[..a.start],
            &segment.bytes[b.start..b.end],
            &segment.bytes[a.end..b.start],
            &segment.bytes[a.start..a.end],
            &segment.bytes[b.end..],
        ]
        .concat();
        let what = format!("events {} and {} swapped", a.event, b.event);
        Mutation::new("swap", what, &segment.path, Some(bytes), Place::At(a.event))
    }

    fn change_carefully(&self, random: &mut Random) -> Mutation {
        let segment = random.pick(&self.segments);
        let picked = segment.pick_event(random);
        let mut events = segment.events();
        let event = &mut events[usize::try_from(picked.event - segment.header.first).unwrap()];
        let at = random.index(event.len());
        event[at] ^= 1 << random.below(8);
        let what = format!("event {} changed, its checksum made good", picked.event);
        Mutation::new(
            "careful flip",
            what,
            &segment.path,
            Some(segment.rebuilt(&events)),
            Place::At(picked.event),
        )
    }

    fn drop_carefully(&self, random: &mut Random) -> Mutation {
        let segment = random.pick(&self.segments);
        let picked = segment.pick_event(random);
        let mut events = segment.events();
        events.remove(usize::try_from(picked.event - segment.header.first).unwrap());
        let what = format!("event {} dropped, the rest numbered anew", picked.event);
        Mutation::new(
            "careful drop",
            what,
            &segment.path,
            Some(segment.rebuilt(&events)),
            Place::At(picked.event),
        )
    }

    fn swap_carefully(&self, random: &mut Random) -> Mutation {
        let segment = random.pick(&self.segments);
        let (a, b) = segment.pick_two(random);
        let mut events = segment.events();
        let idx = |event: u64| usize::try_from(event - segment.header.first).unwrap();
        events.swap(idx(a.event), idx(b.event));
        let what = format!("events {} and {} swapped, their checksums made good", a.event, b.event);
        Mutation::new(
            "careful swap",
            what,
            &segment.path,
            Some(segment.rebuilt(&events)),
            Place::At(a.event),
        )
    }

    /// The event and its stored hash: only the signed root is left to tell.
    fn rewrite(&self, random: &mut Random) -> Mutation {
        let segment = random.pick(&self.segments);
        let picked = segment.pick_event(random).event;
        let mut mutation = self.change_carefully(random);
        let mut events = segment.events();
        let event = &mut events[usize::try_from(picked - segment.header.first).unwrap()];
        let at = random.index(event.len());
        event[at] ^= 1 << random.below(8);
        let mut leaves = self.levels[0].clone();
        let at = usize::try_from(picked).unwrap() * 32;
        leaves[at..at + 32].copy_from_slice(&leaf_hash(event).0);
        mutation.kind = "rewrite";
        mutation.what = format!("event {picked} rewritten with its stored hash");
        mutation.files = vec![
            (segment.path.clone(), Some(segment.rebuilt(&events))),
            ("tiles/0".into(), Some(leaves)),
        ];
        mutation.place = Place::Around(picked);
        mutation
    }

    fn drop_or_swap_checkpoints(&self, random: &mut Random) -> Mutation {
        let idx = random.index(self.checkpoints.len() - 1);
        let start = idx.checked_sub(1).map_or(0, |before| self.checkpoints[before].1);
        let (end, next_end) = (self.checkpoints[idx].1, self.checkpoints[idx + 1].1);
        let swapped = random.below(2) == 0;
        let (first, second) = (&self.history[start..end], &self.history[end..next_end]);
        let kept = if swapped { [second, first].concat() } else { second.to_vec() };
        let bytes = [&self.history[..start], &kept, &self.history[next_end..]].concat();
        let what = format!(
            "checkpoint {idx} {}",
            if swapped { "swapped with the next" } else { "dropped" }
        );
        let place = Place::At(self.size_before(idx));
        Mutation::new("checkpoints", what, Path::new("checkpoints"), Some(bytes), place)
    }

    fn swap_files_or_hashes(&self, random: &mut Random) -> Mutation {
        if random.below(2) == 0 {
            let idx = random.index(self.segments.len() - 1);
            let (a, b) = (&self.segments[idx], &self.segments[idx + 1]);
            let files = vec![
                (a.path.clone(), Some(b.bytes.clone())),
                (b.path.clone(), Some(a.bytes.clone())),
            ];
            let what = format!("segments {idx} and {} swapped", idx + 1);
            return Mutation { kind: "swap files", what, files, place: Place::At(a.header.first) };
        }
        let leaves = &self.levels[0];
        let a = random.index(leaves.len() / 32 - 1);
        let mut bytes = leaves.clone();
        bytes[a * 32..(a + 2) * 32].rotate_left(32);
        let place = Place::At(u64::try_from(a).unwrap());
        let what = format!("the stored hashes of events {a} and {} swapped", a + 1);
        Mutation::new("swap hashes", what, Path::new("tiles/0"), Some(bytes), place)
    }
}

impl Segment {
    fn read(dir: &Path, path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let header = Header::parse(&bytes).unwrap();
        let (mut frames, mut start, mut event) = (Vec::new(), HEADER_BYTES, header.first);
        while start < bytes.len() {
            let (found, n_bytes) =
                frame::parse(&bytes[start..], u64::try_from(start).unwrap(), event).unwrap();
            let is_event = matches!(found, Frame::Event(_));
            frames.push(Placed { start, end: start + n_bytes, event, is_event });
            start += n_bytes;
            event += u64::from(is_event);
        }
        Self { path: path.strip_prefix(dir).unwrap().into(), bytes, header, frames }
    }

    fn event_at(&self, at: usize) -> u64 {
        let frame = self.frames.iter().find(|frame| frame.start <= at && at < frame.end);
        frame.map_or(self.header.first, |frame| frame.event)
    }

    fn events(&self) -> Vec<Vec<u8>> {
        let events = self.frames.iter().filter(|frame| frame.is_event);
        events
            .map(|frame| self.bytes[frame.start + frame::PREFIX_BYTES..frame.end].to_vec())
            .collect()
    }

    fn pick_event(&self, random: &mut Random) -> Placed {
        let events: Vec<&Placed> = self.frames.iter().filter(|frame| frame.is_event).collect();
        (*random.pick(&events)).clone()
    }

    fn pick_two(&self, random: &mut Random) -> (Placed, Placed) {
        loop {
            let (a, b) = (self.pick_event(random), self.pick_event(random));
            if a.event < b.event {
                return (a, b);
            }
        }
    }

    /// The segment as a careful hand would write it with other events: all checksums good.
    fn rebuilt(&self, events: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.header.encode().to_vec();
        let mut strides = Vec::new();
        let mut index = self.header.first;
        for event in events {
            if (index - self.header.first).is_multiple_of(frame::STRIDE) {
                strides.push(u32::try_from(bytes.len()).unwrap());
            }
            frame::push_event(&mut bytes, index, event).unwrap();
            index += 1;
        }
        if self.frames.last().is_some_and(|frame| !frame.is_event) {
            let seal =
                Seal { end: index, offset: u64::try_from(bytes.len()).unwrap(), carry: 0, strides };
            frame::push_seal(&mut bytes, &seal).unwrap();
        }
        bytes
    }
}

/// The sizes of the checkpoints in a history, and where each ends.
fn checkpoints(history: &[u8]) -> Vec<(u64, usize)> {
    let text = std::str::from_utf8(history).unwrap();
    let mut found = Vec::new();
    let mut end = 0;
    for note in text.split_inclusive("=\n").collect::<Vec<_>>().chunks(2) {
        // Root and signature both end in padding: two pieces make one note.
        end += note.iter().map(|piece| piece.len()).sum::<usize>();
        found.push((note[0].lines().nth(2).unwrap().parse().unwrap(), end));
    }
    found
}

fn event(number: u64, random: &mut Random) -> Event {
    let at = Time::from_millis(i64::try_from(number).unwrap());
    let mut event = Event::new(at, Kind::known("access.denied"), Actor::system("test"));
    event.count = random.below(1000);
    let length = usize::try_from(random.below(60)).unwrap();
    event.details.insert("topic".into(), "x".repeat(length).as_str().into());
    event
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap())).unwrap()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }
}
