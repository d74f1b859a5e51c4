//! Opening, rotating and recovering a journal; cut and damaged at every byte of its tail.

use super::*;
use std::ops::ControlFlow;

const LOG: [u8; 32] = [7; 32];

fn open(dir: &Path) -> (Writer, Recovered) {
    Writer::open(dir, LOG, 4096).unwrap()
}

fn event(index: u64) -> Vec<u8> {
    format!("event number {index}, with a little more to read").into_bytes()
}

/// Appends events in commits of seven.
fn fill(writer: &mut Writer, n_events: u64) {
    while writer.n_events() < n_events {
        for index in writer.n_events()..n_events.min(writer.n_events() + 7) {
            assert_eq!(writer.append(&event(index)), Ok(index));
        }
        writer.commit().unwrap();
    }
}

fn read(reader: &Reader, from: u64) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    reader
        .walk(from, |index, event| {
            assert_eq!(index, from + u64::try_from(events.len()).unwrap());
            events.push(event.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    events
}

fn expected(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(event).collect()
}

#[test]
fn what_was_committed_is_read_across_segments_and_openings() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, recovered) = open(dir.path());
    assert_eq!(recovered, Recovered::default());
    fill(&mut writer, 1000);
    writer.append(b"not committed").unwrap();
    assert_eq!(read(&writer.reader(), 0), expected(0..1000));
    drop(writer);
    assert!(list(dir.path()).unwrap().len() > 10);

    let (mut writer, recovered) = open(dir.path());
    assert_eq!((recovered.n_events, recovered.n_cut_bytes), (1000, 0));
    fill(&mut writer, 1300);
    for from in [0, 1, 255, 256, 257, 999, 1000, 1299] {
        assert_eq!(read(&writer.reader(), from), expected(from..1300), "from {from}");
    }
    assert_eq!(read(&writer.reader(), 1300), expected(0..0));
}

#[test]
fn a_long_event_and_many_strides_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(dir.path(), LOG, 1 << 20).unwrap();
    let long = vec![b'x'; 65_535];
    for _ in 0..3 {
        writer.append(&long).unwrap();
    }
    writer.commit().unwrap();
    for index in 3..3000 {
        writer.append(&event(index)).unwrap();
    }
    writer.commit().unwrap();
    assert_eq!(read(&writer.reader(), 2).len(), 2998);
    assert_eq!(read(&writer.reader(), 2)[0], long);
    assert_eq!(read(&writer.reader(), 2999), expected(2999..3000));
    assert_eq!(writer.append(b""), Err(WriteError::Size(0)));
    assert_eq!(writer.append(&[0; 65_536]), Err(WriteError::Size(65_536)));
    assert_eq!(writer.append(b"fine"), Ok(3000));
}

#[test]
fn a_crash_at_every_byte_of_the_last_commit_loses_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    fill(&mut writer, 14);
    let path = path(dir.path(), 0);
    let n_durable = fs::metadata(&path).unwrap().len();
    fill(&mut writer, 17);
    drop(writer);
    let whole = fs::read(&path).unwrap();
    for end in usize::try_from(n_durable).unwrap()..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let (mut writer, recovered) = open(dir.path());
        assert!((14..17).contains(&recovered.n_events), "cut at {end}: {recovered:?}");
        assert_eq!(read(&writer.reader(), 0), expected(0..recovered.n_events), "cut at {end}");
        fill(&mut writer, 20);
        assert_eq!(read(&writer.reader(), 0), expected(0..20), "cut at {end}");
    }
}

#[test]
fn damage_anywhere_before_the_last_commit_is_an_error_that_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    fill(&mut writer, 14);
    let path = path(dir.path(), 0);
    let n_durable = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    fill(&mut writer, 16);
    drop(writer);
    let whole = fs::read(&path).unwrap();
    for at in 0..n_durable {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        fs::write(&path, &changed).unwrap();
        let Err(e) = Writer::open(dir.path(), LOG, 4096) else { panic!("byte {at}") };
        assert_eq!(fs::read(&path).unwrap(), changed, "nothing is cut");
        let names_it = match &e {
            OpenError::Broken { broken, .. } => broken.offset <= at && at < broken.offset + 100,
            OpenError::NoSegment { .. } => at < HEADER_BYTES,
            _ => false,
        };
        assert!(names_it, "byte {at}: {e}");
    }
}

#[test]
fn a_crash_between_seal_and_next_segment_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    fill(&mut writer, 1000);
    drop(writer);
    let firsts = list(dir.path()).unwrap();
    let last = *firsts.last().unwrap();
    fs::rename(path(dir.path(), last), path(dir.path(), last).with_extension("new")).unwrap();
    let (mut writer, recovered) = open(dir.path());
    assert_eq!(recovered.n_events, last);
    fill(&mut writer, 1000);
    assert_eq!(read(&writer.reader(), 0), expected(0..1000));
}

#[test]
fn a_missing_or_foreign_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    fill(&mut writer, 1000);
    drop(writer);
    assert!(matches!(Writer::open(dir.path(), [8; 32], 4096), Err(OpenError::OtherLog(_))));
    let firsts = list(dir.path()).unwrap();
    fs::remove_file(path(dir.path(), firsts[1])).unwrap();
    let Err(OpenError::Gap { expected, .. }) = Writer::open(dir.path(), LOG, 4096) else {
        panic!()
    };
    assert_eq!(expected, firsts[1]);
}

#[test]
fn the_carry_goes_with_the_seal() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    writer.set_carry(42);
    fill(&mut writer, 200);
    drop(writer);
    assert_eq!(open(dir.path()).1.carry, 42);
}

#[test]
fn after_a_failed_write_the_numbers_are_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    fill(&mut writer, 10);
    // A file that can't be written: the same one, opened for reading.
    let good = writer.active.file.clone();
    writer.active.file = Arc::new(File::open(path(dir.path(), 0)).unwrap());
    writer.append(b"lost").unwrap();
    // Nothing can be taken back from such a file either, so that the writer is stuck.
    assert!(matches!(writer.commit(), Err(WriteError::Stuck(_))));
    writer.active.file = good;
    writer.append(b"refused").unwrap();
    assert!(matches!(writer.commit(), Err(WriteError::Stuck(_))));
    assert_eq!(writer.n_events(), 10);
    drop(writer);
    assert_eq!(open(dir.path()).1.n_events, 10);
}

#[test]
fn a_full_disk_is_told_and_survived() {
    // /dev/full answers each write as a full disk does.
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = open(dir.path());
    fill(&mut writer, 10);
    let good = writer.active.file.clone();
    writer.active.file = Arc::new(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    writer.append(b"lost").unwrap();
    let Err(e) = writer.commit() else { panic!() };
    assert!(e.to_string().contains("No space left on device"), "{e}");
    writer.active.file = good;
    writer.is_stuck = false;
    fill(&mut writer, 20);
    assert_eq!(read(&writer.reader(), 0), expected(0..20));
}
