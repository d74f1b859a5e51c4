//! Rows that come out of a query, read by column number.

use rusqlite::types::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::StoreError;
use super::lite::Columns;

/// One row of either database.
pub(crate) enum Row {
    Lite(Columns),
    Pg(PgRow),
}

/// A type that both databases can give.
pub(crate) trait Column: Sized {
    fn lite(value: &Value) -> Option<Self>;
    fn pg(row: &PgRow, idx: usize) -> Result<Self, sqlx::Error>;
}

macro_rules! column {
    ($($type:ty: $pattern:pat => $value:expr;)*) => {$(
        impl Column for $type {
            fn lite(value: &Value) -> Option<Self> {
                match value {
                    $pattern => Some($value),
                    _ => None,
                }
            }
            fn pg(row: &PgRow, idx: usize) -> Result<Self, sqlx::Error> {
                row.try_get(idx)
            }
        }

        impl Column for Option<$type> {
            fn lite(value: &Value) -> Option<Self> {
                match value {
                    Value::Null => Some(None),
                    value => <$type>::lite(value).map(Some),
                }
            }
            fn pg(row: &PgRow, idx: usize) -> Result<Self, sqlx::Error> {
                row.try_get(idx)
            }
        }
    )*};
}

column! {
    i64: Value::Integer(number) => *number;
    bool: Value::Integer(number) => *number != 0;
    String: Value::Text(text) => text.clone();
    Vec<u8>: Value::Blob(bytes) => bytes.clone();
}

impl Row {
    /// Reads a column as it is stored.
    pub(crate) fn get<T: Column>(&self, idx: usize) -> Result<T, StoreError> {
        match self {
            Self::Lite(columns) => {
                columns.get(idx).and_then(T::lite).ok_or(StoreError::Unreadable("a column"))
            }
            Self::Pg(row) => Ok(T::pg(row, idx)?),
        }
    }

    /// Reads a text column as one of our types.
    pub(crate) fn parse<T: std::str::FromStr>(
        &self,
        idx: usize,
        what: &'static str,
    ) -> Result<T, StoreError> {
        let text: String = self.get(idx)?;
        text.parse().map_err(|_| StoreError::Unreadable(what))
    }

    /// Reads a point in time.
    pub(crate) fn time(&self, idx: usize) -> Result<identity::Time, StoreError> {
        Ok(identity::Time::from_millis(self.get(idx)?))
    }

    /// Reads a point in time that may be absent.
    pub(crate) fn time_if(&self, idx: usize) -> Result<Option<identity::Time>, StoreError> {
        Ok(self.get::<Option<i64>>(idx)?.map(identity::Time::from_millis))
    }

    /// Reads bytes of a fixed length.
    pub(crate) fn bytes<const N: usize>(
        &self,
        idx: usize,
        what: &'static str,
    ) -> Result<[u8; N], StoreError> {
        let bytes: Vec<u8> = self.get(idx)?;
        bytes.try_into().map_err(|_| StoreError::Unreadable(what))
    }

    /// Reads a count, which is never negative.
    pub(crate) fn count(&self, idx: usize) -> Result<u64, StoreError> {
        u64::try_from(self.get::<i64>(idx)?).map_err(|_| StoreError::Unreadable("a count"))
    }
}
