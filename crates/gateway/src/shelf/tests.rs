//! The shelf alone: what is written is read again, shared where it is the same, and bound to its key.

use messaging::broker::row::{
    Frame, MessageId, MessageRow, MessageStage, RetainedRow, SessionId, SessionRow, SharedRow,
    SubscriptionRow, WillRow,
};
use messaging::mqtt::{PacketId, QoS, SubscriptionId, Version};
use messaging::router::Interest;
use messaging::text::Text;

use super::*;
use crate::hub::principal_of_tests as principal;

const SECRET: [u8; 32] = [3; 32];

fn open(folder: &Path) -> Shelf {
    Shelf::open(folder, &SECRET, Clock::start()).unwrap()
}

fn load(shelf: &mut Shelf) -> Vec<DeviceRow> {
    let load = |owner: Owner| (owner.device == principal().device).then(|| Arc::new(principal()));
    shelf.load(load).unwrap()
}

fn put(row: &DeviceRow) -> DeviceChange {
    Change::Put(row.clone())
}

fn session(id: u64) -> DeviceRow {
    let publish = Bytes::from_static(b"the will");
    Row::Session(SessionRow {
        id: SessionId(id),
        client_id: Text::clipped(&format!("client {id}")),
        principal: Arc::new(principal()),
        version: Version::V5,
        expiry: 3_600,
        ends_at: None,
        will: Some(WillRow { publish, delay: 5, at: None }),
    })
}

fn message(session: u64, id: u64, stage: MessageStage) -> DeviceRow {
    let group = Some("$share/g/a/#".parse().unwrap());
    Row::Message(MessageRow { session: SessionId(session), id: MessageId(id), stage, group })
}

fn frame(bytes: &Bytes) -> Frame {
    Frame { bytes: bytes.clone(), expires: None }
}

fn n_frames(shelf: &Shelf) -> i64 {
    shelf.connection.query_row("select count(*) from frame", (), |row| row.get(0)).unwrap()
}

/// One row of every kind, in the order in which they are read.
fn rows() -> Vec<DeviceRow> {
    let bytes = Bytes::from_static(b"a frame");
    let interest = Interest {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: false,
        id: SubscriptionId::of(9),
    };
    let filter = "a/+/#".parse().unwrap();
    vec![
        session(1),
        session(2),
        Row::Subscription(SubscriptionRow { session: SessionId(1), filter, interest }),
        message(1, 3, MessageStage::Waiting(frame(&bytes))),
        message(2, 4, MessageStage::Sent(PacketId::FIRST, frame(&bytes))),
        message(2, 5, MessageStage::Released(PacketId::FIRST)),
        Row::Received(SessionId(2), PacketId::FIRST),
        Row::Retained(RetainedRow {
            topic: "a/b".parse().unwrap(),
            principal: Arc::new(principal()),
            publish: Bytes::from_static(b"retained"),
            expires: None,
        }),
        Row::Shared(SharedRow {
            group: "$share/g/a/#".parse().unwrap(),
            place: -4,
            publish: Bytes::from_static(b"shared"),
            expires: None,
        }),
    ]
}

#[test]
fn rows_of_every_kind_are_read_as_they_were_written_and_gone_when_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut shelf = open(folder.path());
    let rows = rows();
    shelf.write(&rows.iter().map(put).collect::<Vec<_>>()).unwrap();
    shelf.write(&rows.iter().map(put).collect::<Vec<_>>()).unwrap();
    drop(shelf);
    let mut shelf = open(folder.path());
    assert_eq!(load(&mut shelf), rows);
    let gone: Vec<_> = rows.iter().map(|row| Change::Gone(row.key())).collect();
    shelf.write(&gone).unwrap();
    assert_eq!(load(&mut shelf), []);
    assert_eq!(n_frames(&shelf), 0);
}

#[test]
fn receivers_of_the_same_share_a_frame_until_the_last_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut shelf = open(folder.path());
    let bytes = Bytes::from_static(b"a frame");
    let to = |id| message(id, id, MessageStage::Waiting(frame(&bytes)));
    let sent = |id| message(id, id, MessageStage::Sent(PacketId::FIRST, frame(&bytes)));
    shelf.write(&[put(&session(1)), put(&session(2)), put(&to(1)), put(&to(2))]).unwrap();
    assert_eq!(n_frames(&shelf), 1);
    shelf.write(&[put(&sent(1)), put(&sent(2))]).unwrap();
    assert_eq!(n_frames(&shelf), 1);
    shelf.write(&[put(&message(1, 1, MessageStage::Released(PacketId::FIRST)))]).unwrap();
    assert_eq!(n_frames(&shelf), 1);
    let rows = load(&mut shelf);
    assert_eq!(rows.len(), 4, "{rows:?}");
    shelf.write(&[Change::Gone(sent(2).key())]).unwrap();
    assert_eq!(n_frames(&shelf), 0);
}

#[test]
fn moments_are_kept_as_times_of_day() {
    let folder = tempfile::tempdir().unwrap();
    let mut shelf = open(folder.path());
    let hour = Duration::from_secs(3_600);
    let Row::Session(row) = session(1) else { unreachable!() };
    let ends_at = Some(shelf.clock.moment().plus(hour));
    shelf.write(&[Change::Put(Row::Session(SessionRow { ends_at, ..row }))]).unwrap();
    // Another run counts from another start.
    shelf.clock = Clock::start();
    let Some(Row::Session(row)) = load(&mut shelf).pop() else { panic!("no session") };
    let left = row.ends_at.unwrap().since(shelf.clock.moment());
    assert!(left <= hour && left > hour - Duration::from_secs(60), "{left:?} are left");
}

#[test]
fn what_is_nobodys_goes_with_all_that_is_its() {
    let folder = tempfile::tempdir().unwrap();
    let mut shelf = open(folder.path());
    shelf.write(&rows().iter().map(put).collect::<Vec<_>>()).unwrap();
    let rows = shelf.load(|_| None).unwrap();
    assert!(matches!(&rows[..], [Row::Shared(_)]), "{rows:?}");
    assert_eq!(n_frames(&shelf), 0);
    assert_eq!(load(&mut shelf), rows);
}

#[test]
fn a_payload_opens_only_in_its_own_place_and_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut shelf = open(folder.path());
    shelf.write(&rows().iter().map(put).collect::<Vec<_>>()).unwrap();
    let move_over =
        "update retained set topic = 'a/c'; update frame set body = (select body from shared)";
    shelf.connection.execute_batch(move_over).unwrap();
    let left = load(&mut shelf);
    let n_messages = left.iter().filter(|row| matches!(row, Row::Message(_))).count();
    assert_eq!(n_messages, 1, "the one without a payload: {left:?}");
    assert!(!left.iter().any(|row| matches!(row, Row::Retained(_))));
    assert_eq!(load(&mut shelf), left, "the others are thrown away");
    drop(shelf);
    let mut other = Shelf::open(folder.path(), &[4; 32], Clock::start()).unwrap();
    let left = load(&mut other);
    assert!(!left.iter().any(|row| matches!(row, Row::Session(_) | Row::Shared(_))), "{left:?}");
}

#[test]
fn a_newer_format_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = open(folder.path());
    shelf.connection.pragma_update(None, "user_version", FORMAT + 1).unwrap();
    drop(shelf);
    let refused = Shelf::open(folder.path(), &SECRET, Clock::start()).err().unwrap();
    assert!(format!("{refused:#}").contains("run the newer program"), "{refused:#}");
}
