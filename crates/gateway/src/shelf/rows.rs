//! The rows of the shelf as SQLite has them: written one by one, and read all at once.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use identity::Fingerprint;
use messaging::broker::row::{
    Frame, MessageId, MessageRow, MessageStage, RetainedRow, RowKey, SessionId, SessionRow,
    SharedRow, SubscriptionRow, WillRow,
};
use messaging::broker::{Change, Row};
use messaging::mqtt::{PacketId, QoS, SubscriptionId, Version};
use messaging::router::Interest;
use messaging::text::Text;
use rusqlite::{OptionalExtension as _, Params, Transaction, params};

use super::{DeviceChange, DeviceRow, Owner, Sealing, ShelfError, Times};
use crate::hub::Principal;

/// One batch on its way into the file.
pub(super) struct Writing<'a> {
    transaction: &'a Transaction<'a>,
    sealing: &'a Sealing,
    times: Times,
    /// The frames that were written in this batch, by where their bytes lie: receivers of the same
    /// message share them.
    frames: HashMap<(usize, usize), i64>,
}

impl<'a> Writing<'a> {
    pub(super) fn new(
        transaction: &'a Transaction<'a>,
        sealing: &'a Sealing,
        times: Times,
    ) -> Self {
        Self { transaction, sealing, times, frames: HashMap::new() }
    }

    /// Writes all changes of a batch.
    pub(super) fn all(mut self, batch: &[DeviceChange]) -> Result<(), ShelfError> {
        batch.iter().try_for_each(|change| match change {
            Change::Put(row) => self.put(row),
            Change::Gone(key) => self.forget(key),
        })
    }

    fn put(&mut self, row: &DeviceRow) -> Result<(), ShelfError> {
        match row {
            Row::Session(row) => self.put_session(row),
            Row::Subscription(SubscriptionRow { session, filter, interest }) => self.run(
                "insert or replace into subscription \
                 (session, filter, qos, no_local, as_published, number) values (?, ?, ?, ?, ?, ?)",
                params![
                    number(session.0),
                    filter.as_str(),
                    interest.qos as u8,
                    interest.no_local,
                    interest.retain_as_published,
                    interest.id.map(SubscriptionId::number)
                ],
            ),
            Row::Message(row) => self.put_message(row),
            Row::Received(session, id) => self.run(
                "insert or replace into received (session, packet) values (?, ?)",
                params![number(session.0), id.number()],
            ),
            Row::Retained(row) => {
                let topic = row.topic.as_str();
                let body = self.sealing.seal(&place("retained", topic), &row.publish)?;
                let Principal { device, fingerprint, peer, .. } = &*row.principal;
                let expires = row.expires.map(|at| self.times.of(at));
                self.run(
                    "insert or replace into retained \
                     (topic, device, fingerprint, peer, expires, body) values (?, ?, ?, ?, ?, ?)",
                    params![
                        topic,
                        device.as_str(),
                        fingerprint.as_bytes(),
                        peer.to_string(),
                        expires,
                        body
                    ],
                )
            }
            Row::Shared(SharedRow { group, place: at, publish, expires }) => {
                let body = self.sealing.seal(&place("shared", group), publish)?;
                let expires = expires.map(|at| self.times.of(at));
                self.run(
                    "insert or replace into shared (line, place, expires, body) values (?, ?, ?, ?)",
                    params![group.as_str(), at, expires, body],
                )
            }
        }
    }

    fn put_session(&self, row: &SessionRow<Arc<Principal>>) -> Result<(), ShelfError> {
        let seal = |will: &WillRow| self.sealing.seal(&place("will", row.id.0), &will.publish);
        let will = row.will.as_ref().map(seal).transpose()?;
        let Principal { device, fingerprint, peer, .. } = &*row.principal;
        let version = match row.version {
            Version::V311 => 4,
            Version::V5 => 5,
        };
        self.run(
            "insert or replace into session (id, client, device, fingerprint, peer, version, \
             expiry, ends, will, will_delay, will_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                number(row.id.0),
                row.client_id.as_str(),
                device.as_str(),
                fingerprint.as_bytes(),
                peer.to_string(),
                version,
                row.expiry,
                row.ends_at.map(|at| self.times.of(at)),
                will,
                row.will.as_ref().map(|will| will.delay),
                row.will.as_ref().and_then(|will| Some(self.times.of(will.at?))),
            ],
        )
    }

    fn put_message(&mut self, row: &MessageRow) -> Result<(), ShelfError> {
        let id = number(row.id.0);
        let line = row.group.as_ref().map(|group| group.as_str());
        let (packet, frame) = match &row.stage {
            MessageStage::Waiting(frame) => (None, Some(frame)),
            MessageStage::Sent(packet, frame) => (Some(packet.number()), Some(frame)),
            MessageStage::Released(packet) => (Some(packet.number()), None),
        };
        let sql = "select frame from message where id = ?";
        let held = self.transaction.prepare_cached(sql)?;
        let held = { held }.query_row([id], |row| row.get::<_, Option<i64>>(0)).optional()?;
        match (held, frame) {
            (None, frame) => {
                let frame = frame.map(|frame| self.put_frame(frame)).transpose()?;
                self.run(
                    "insert into message (id, session, packet, line, frame) values (?, ?, ?, ?, ?)",
                    params![id, number(row.session.0), packet, line, frame],
                )
            }
            // What a message says never changes.
            (Some(_), Some(_)) => {
                self.run("update message set packet = ? where id = ?", params![packet, id])
            }
            (Some(held), None) => {
                let sql = "update message set packet = ?, frame = null where id = ?";
                self.run(sql, params![packet, id])?;
                held.map_or(Ok(()), |frame| self.release_frame(frame))
            }
        }
    }

    /// Writes a frame for one more message; gives its number.
    fn put_frame(&mut self, frame: &Frame) -> Result<i64, ShelfError> {
        let at = (frame.bytes.as_ptr() as usize, frame.bytes.len());
        if let Some(&id) = self.frames.get(&at) {
            let sql = "update frame set n_messages = n_messages + 1 where id = ?";
            self.run(sql, [id])?;
            return Ok(id);
        }
        let sql = "select coalesce(max(id), 0) + 1 from frame";
        let id: i64 = self.transaction.prepare_cached(sql)?.query_row((), |row| row.get(0))?;
        let body = self.sealing.seal(&place("frame", id), &frame.bytes)?;
        let expires = frame.expires.map(|at| self.times.of(at));
        self.run(
            "insert into frame (id, n_messages, expires, body) values (?, 1, ?, ?)",
            params![id, expires, body],
        )?;
        self.frames.insert(at, id);
        Ok(id)
    }

    /// A message needs its frame no more; with the last, the frame goes.
    fn release_frame(&mut self, id: i64) -> Result<(), ShelfError> {
        self.run("update frame set n_messages = n_messages - 1 where id = ?", [id])?;
        self.run("delete from frame where id = ? and n_messages <= 0", [id])
    }

    fn forget(&mut self, key: &RowKey) -> Result<(), ShelfError> {
        match key {
            RowKey::Session(id) => self.run("delete from session where id = ?", [number(id.0)]),
            RowKey::Subscription(session, filter) => self.run(
                "delete from subscription where session = ? and filter = ?",
                params![number(session.0), filter.as_str()],
            ),
            RowKey::Message(_, id) => {
                let sql = "delete from message where id = ? returning frame";
                let held = self.transaction.prepare_cached(sql)?;
                let held = { held }.query_row([number(id.0)], |row| row.get::<_, Option<i64>>(0));
                held.optional()?.flatten().map_or(Ok(()), |frame| self.release_frame(frame))
            }
            RowKey::Received(session, id) => self.run(
                "delete from received where session = ? and packet = ?",
                params![number(session.0), id.number()],
            ),
            RowKey::Retained(topic) => {
                self.run("delete from retained where topic = ?", [topic.as_str()])
            }
            RowKey::Shared(group, place) => self.run(
                "delete from shared where line = ? and place = ?",
                params![group.as_str(), place],
            ),
        }
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<(), ShelfError> {
        self.transaction.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }
}

/// A table, and the columns that tell its rows apart.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
}

const SESSION: Table = Table { name: "session", key: &["id"] };
const SUBSCRIPTION: Table = Table { name: "subscription", key: &["session", "filter"] };
const MESSAGE: Table = Table { name: "message", key: &["id"] };
const RECEIVED: Table = Table { name: "received", key: &["session", "packet"] };
const RETAINED: Table = Table { name: "retained", key: &["topic"] };
const SHARED: Table = Table { name: "shared", key: &["line", "place"] };

impl Table {
    fn key(&self, row: &SqlRow<'_>) -> rusqlite::Result<Vec<rusqlite::types::Value>> {
        self.key.iter().map(|column| row.get(*column)).collect()
    }
}

/// The whole file on its way into a broker.
pub(super) struct Loading<'a, F> {
    transaction: &'a Transaction<'a>,
    sealing: &'a Sealing,
    times: Times,
    owner: F,
    rows: Vec<DeviceRow>,
    n_lost: u64,
}

type SqlRow<'a> = rusqlite::Row<'a>;

impl<'a, F: FnMut(Owner) -> Option<Arc<Principal>>> Loading<'a, F> {
    pub(super) fn new(
        transaction: &'a Transaction<'a>,
        sealing: &'a Sealing,
        times: Times,
        owner: F,
    ) -> Self {
        Self { transaction, sealing, times, owner, rows: Vec::new(), n_lost: 0 }
    }

    /// Counts the rows that could not be read.
    pub(super) const fn n_lost(&self) -> u64 {
        self.n_lost
    }

    /// Reads all rows, and throws away those that are nobody's.
    pub(super) fn all(&mut self) -> Result<Vec<DeviceRow>, ShelfError> {
        self.each(&SESSION, "order by id", Self::session)?;
        for table in ["subscription", "message", "received"] {
            let sql = format!("delete from {table} where session not in (select id from session)");
            self.transaction.execute(&sql, ())?;
        }
        self.each(&SUBSCRIPTION, "", Self::subscription)?;
        self.messages()?;
        self.each(&RECEIVED, "", Self::received)?;
        self.each(&RETAINED, "", Self::retained)?;
        self.each(&SHARED, "order by line, place", Self::shared)?;
        Ok(std::mem::take(&mut self.rows))
    }

    /// Reads the rows of a table; one that is not to be had is deleted.
    fn each(
        &mut self,
        table: &Table,
        order: &str,
        read: impl Fn(&mut Self, &SqlRow<'_>) -> Result<Option<DeviceRow>, ShelfError>,
    ) -> Result<(), ShelfError> {
        let mut gone = Vec::new();
        let sql = format!("select * from {} {order}", table.name);
        let mut statement = self.transaction.prepare(&sql)?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            match read(self, row) {
                Ok(Some(found)) => self.rows.push(found),
                // It belongs to nobody any more.
                Ok(None) => gone.push(table.key(row)?),
                Err(ShelfError::Sqlite(error)) if !is_of_one_row(&error) => {
                    return Err(error.into());
                }
                Err(_) => {
                    self.n_lost += 1;
                    gone.push(table.key(row)?);
                }
            }
        }
        drop(rows);
        let terms: Vec<_> = table.key.iter().map(|column| format!("{column} = ?")).collect();
        let sql = format!("delete from {} where {}", table.name, terms.join(" and "));
        for key in gone {
            self.transaction.execute(&sql, rusqlite::params_from_iter(key))?;
        }
        Ok(())
    }

    fn session(&mut self, row: &SqlRow<'_>) -> Result<Option<DeviceRow>, ShelfError> {
        let id: i64 = row.get("id")?;
        let Some(principal) = self.principal(row)? else { return Ok(None) };
        let will: Option<Vec<u8>> = row.get("will")?;
        let will = will.map(|sealed| {
            let publish = self.sealing.open(&place("will", id), &sealed)?;
            let (delay, at): (Option<u32>, Option<i64>) =
                (row.get("will_delay")?, row.get("will_at")?);
            let at = at.map(|at| self.times.moment(at));
            Ok::<_, ShelfError>(WillRow { publish, delay: delay.unwrap_or(0), at })
        });
        let version = match row.get("version")? {
            4 => Version::V311,
            5 => Version::V5,
            _ => return Err(ShelfError::Unreadable("version")),
        };
        let client: String = row.get("client")?;
        let ends: Option<i64> = row.get("ends")?;
        Ok(Some(Row::Session(SessionRow {
            id: SessionId(id.unsigned_abs()),
            client_id: Text::copy_of(&client).map_err(|_| ShelfError::Unreadable("client"))?,
            principal,
            version,
            expiry: row.get("expiry")?,
            ends_at: ends.map(|at| self.times.moment(at)),
            will: will.transpose()?,
        })))
    }

    fn subscription(&mut self, row: &SqlRow<'_>) -> Result<Option<DeviceRow>, ShelfError> {
        let number: Option<u32> = row.get("number")?;
        let interest = Interest {
            qos: qos(row.get("qos")?)?,
            no_local: row.get("no_local")?,
            retain_as_published: row.get("as_published")?,
            id: number.and_then(SubscriptionId::of),
        };
        let (session, filter) = (session(row)?, parsed(row, "filter")?);
        Ok(Some(Row::Subscription(SubscriptionRow { session, filter, interest })))
    }

    /// Reads the messages, those with the same frame sharing its bytes.
    fn messages(&mut self) -> Result<(), ShelfError> {
        let mut frames = HashMap::new();
        let mut statement = self.transaction.prepare("select id, expires, body from frame")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let (id, body): (i64, Vec<u8>) = (row.get(0)?, row.get(2)?);
            let expires: Option<i64> = row.get(1)?;
            // One that does not open is missed by its messages, and they are counted.
            if let Ok(bytes) = self.sealing.open(&place("frame", id), &body) {
                let expires = expires.map(|at| self.times.moment(at));
                frames.insert(id, Frame { bytes, expires });
            }
        }
        let read = |_: &mut Self, row: &SqlRow<'_>| message(row, &frames).map(Some);
        self.each(&MESSAGE, "order by id", read)?;
        let sql = "delete from frame \
                   where id not in (select frame from message where frame is not null)";
        self.transaction.execute(sql, ())?;
        Ok(())
    }

    fn received(&mut self, row: &SqlRow<'_>) -> Result<Option<DeviceRow>, ShelfError> {
        let packet = packet(row)?.ok_or(ShelfError::Unreadable("packet"))?;
        Ok(Some(Row::Received(session(row)?, packet)))
    }

    fn retained(&mut self, row: &SqlRow<'_>) -> Result<Option<DeviceRow>, ShelfError> {
        let Some(principal) = self.principal(row)? else { return Ok(None) };
        let topic: String = row.get("topic")?;
        let body: Vec<u8> = row.get("body")?;
        Ok(Some(Row::Retained(RetainedRow {
            publish: self.sealing.open(&place("retained", &topic), &body)?,
            topic: parsed(row, "topic")?,
            principal,
            expires: self.expires(row)?,
        })))
    }

    fn shared(&mut self, row: &SqlRow<'_>) -> Result<Option<DeviceRow>, ShelfError> {
        let line: String = row.get("line")?;
        let body: Vec<u8> = row.get("body")?;
        Ok(Some(Row::Shared(SharedRow {
            publish: self.sealing.open(&place("shared", &line), &body)?,
            group: parsed(row, "line")?,
            place: row.get("place")?,
            expires: self.expires(row)?,
        })))
    }

    fn expires(&self, row: &SqlRow<'_>) -> Result<Option<messaging::time::Instant>, ShelfError> {
        let expires: Option<i64> = row.get("expires")?;
        Ok(expires.map(|at| self.times.moment(at)))
    }

    fn principal(&mut self, row: &SqlRow<'_>) -> Result<Option<Arc<Principal>>, ShelfError> {
        let fingerprint: [u8; 32] = row.get("fingerprint")?;
        Ok((self.owner)(Owner {
            device: parsed(row, "device")?,
            fingerprint: Fingerprint::from_bytes(fingerprint),
            peer: parsed(row, "peer")?,
        }))
    }
}

fn message(row: &SqlRow<'_>, frames: &HashMap<i64, Frame>) -> Result<DeviceRow, ShelfError> {
    let id: i64 = row.get("id")?;
    let frame: Option<i64> = row.get("frame")?;
    let frame = frame.map(|id| frames.get(&id).cloned().ok_or(ShelfError::Unreadable("frame")));
    let stage = match (packet(row)?, frame.transpose()?) {
        (None, Some(frame)) => MessageStage::Waiting(frame),
        (Some(packet), Some(frame)) => MessageStage::Sent(packet, frame),
        (Some(packet), None) => MessageStage::Released(packet),
        (None, None) => return Err(ShelfError::Unreadable("stage")),
    };
    let line: Option<String> = row.get("line")?;
    let group = line.map(|_| parsed(row, "line")).transpose()?;
    let (session, id) = (session(row)?, MessageId(id.unsigned_abs()));
    Ok(Row::Message(MessageRow { session, id, stage, group }))
}

/// Tells whether only one row is not what it should be, and not the whole file.
fn is_of_one_row(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::FromSqlConversionFailure(..)
            | Error::Utf8Error(..)
    )
}

fn session(row: &SqlRow<'_>) -> Result<SessionId, ShelfError> {
    let id: i64 = row.get("session")?;
    Ok(SessionId(id.unsigned_abs()))
}

fn packet(row: &SqlRow<'_>) -> Result<Option<PacketId>, ShelfError> {
    let packet: Option<u16> = row.get("packet")?;
    packet.map(|packet| PacketId::of(packet).ok_or(ShelfError::Unreadable("packet"))).transpose()
}

fn qos(number: u8) -> Result<QoS, ShelfError> {
    QoS::of_bits(number).ok_or(ShelfError::Unreadable("qos"))
}

fn parsed<T: FromStr>(row: &SqlRow<'_>, column: &'static str) -> Result<T, ShelfError> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| ShelfError::Unreadable(column))
}

/// Names the place that something is sealed for.
fn place(table: &str, key: impl fmt::Display) -> String {
    format!("shelf/{table}/{key}")
}

/// SQLite counts to 2^63, which nobody reaches.
fn number(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}
