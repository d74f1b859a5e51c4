//! Values that go into a query; the absent ones keep their type, which PostgreSQL needs.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

/// A value of one of the four types that both databases store alike.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
    Flag(Option<bool>),
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Int(value) => value.map(ValueRef::Integer),
            Self::Text(value) => value.as_ref().map(|text| ValueRef::Text(text.as_bytes())),
            Self::Blob(value) => value.as_ref().map(|bytes| ValueRef::Blob(bytes)),
            Self::Flag(value) => value.map(|flag| ValueRef::Integer(flag.into())),
        };
        Ok(ToSqlOutput::Borrowed(value.unwrap_or(ValueRef::Null)))
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident($value:ident) $into:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                Self::$variant(Some($into))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(|$value| $into))
            }
        }
    )*};
}

from! {
    i64 => Int(v) v;
    bool => Flag(v) v;
    &str => Text(v) v.to_owned();
    String => Text(v) v;
    &String => Text(v) v.clone();
    &[u8] => Blob(v) v.to_vec();
    Vec<u8> => Blob(v) v;
    identity::Time => Int(v) v.millis();
    &identity::DeviceId => Text(v) v.as_str().to_owned();
    &identity::KindId => Text(v) v.as_str().to_owned();
    &identity::ZoneId => Text(v) v.as_str().to_owned();
    &identity::SiteId => Text(v) v.as_str().to_owned();
    identity::Stage => Text(v) v.as_str().to_owned();
    identity::Fingerprint => Blob(v) v.as_bytes().to_vec();
    identity::Serial => Blob(v) v.as_bytes().to_vec();
}

/// Lists the values of a query in the order of `$1`, `$2`, …
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::Value::from($value)),*] };
}

pub(crate) use params;
