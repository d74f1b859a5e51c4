//! The queries behind the fleet's table: which rows, in which order, and how many there are.
//!
//! Which rows a page has is found first, over an index and without any other table; only those are
//! then read. So a page at the end of a hundred thousand devices costs little more than the first.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::view::{self, Device};
use crate::store::{Connection, Row, StoreError, Value, params};

/// Which devices are asked for; an empty text asks for all.
#[derive(Debug, Default, Clone)]
pub(crate) struct Filter {
    pub(crate) text: String,
    pub(crate) stage: String,
    pub(crate) kind: String,
    pub(crate) zone: String,
    pub(crate) site: String,
    pub(crate) connection: String,
    /// The least level of attention.
    pub(crate) attention: i64,
    /// Exactly this level, where it is not negative.
    pub(crate) level: i64,
}

/// By what the table is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Sort {
    Attention,
    Id,
    Seen,
    Created,
}

/// Where a page begins.
#[derive(Debug, Clone)]
pub(crate) enum From {
    /// After a row: its sort value and id.
    After(i64, String),
    /// After so many rows.
    Skip(i64),
}

/// One page of the fleet.
pub(crate) struct Page {
    pub(crate) items: Vec<Device>,
    /// Where the next one begins.
    pub(crate) next: Option<(i64, String)>,
    /// How many devices the filter takes.
    pub(crate) total: u64,
}

/// Reads one page of the fleet.
pub(crate) async fn page(
    c: &mut Connection<'_>,
    filter: &Filter,
    sort: Sort,
    descending: bool,
    from: &From,
    limit: i64,
) -> Result<Page, StoreError> {
    let total = total(c, filter).await?;
    if total == 0 {
        return Ok(Page { items: Vec::new(), next: None, total });
    }
    let mut params = filter.params();
    let skip = match from {
        From::Skip(skip) => *skip,
        From::After(..) => 0,
    };
    params.extend(params![limit + 1, skip]);
    match from {
        From::Skip(_) => {}
        From::After(_, id) if sort == Sort::Id => params.extend(params![id]),
        From::After(key, id) => params.extend(params![*key, id]),
    }
    let way = Way::to_rows(filter, total, skip.saturating_add(limit));
    let query = Query { sort, descending, follows: matches!(from, From::After(..)), way };
    let mut rows = c.rows(query.text(), params).await?;
    let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    if more {
        rows.pop();
    }
    let place = |row: &Row| -> Result<(i64, String), StoreError> {
        Ok((sort.column().map_or(Ok(0), |(_, idx)| row.get(idx))?, row.get(0)?))
    };
    let next = if more { rows.last().map(place).transpose()? } else { None };
    Ok(Page { items: view::read(c, &rows).await?, next, total })
}

/// Counts the devices that a filter takes.
async fn total(c: &mut Connection<'_>, filter: &Filter) -> Result<u64, StoreError> {
    static COUNTS: LazyLock<HashMap<Way, String>> = LazyLock::new(|| {
        let count = |way: Way| {
            format!("select cast(count(*) as bigint) from device d where {WHERE} {}", way.says())
        };
        Way::ALL.into_iter().map(|way| (way, count(way))).collect()
    });
    let row = if filter.takes_all() {
        c.row("select cast(count(*) as bigint) from device", params![]).await?
    } else {
        let sql = COUNTS.get(&Way::to_count(filter)).map_or("", String::as_str);
        c.row(sql, filter.params()).await?
    };
    row.ok_or(StoreError::Unreadable("a count"))?.count(0)
}

/// What a filter says of a device. Nothing here names another table for each device.
const WHERE: &str = "($1 = '' or lower(d.id) like $1 escape '\\' \
     or lower(coalesce(d.title, '')) like $1 escape '\\') \
     and ($2 = '' or d.stage = $2) and ($3 = '' or d.kind = $3) and ($4 = '' or d.zone = $4) \
     and ($5 = '' or d.zone in (select s.id from zone s where s.site = $5)) \
     and ($6 = '' or d.connection = $6) \
     and ($7 = 0 or d.attention >= $7) and ($8 < 0 or d.attention = $8)";

impl Filter {
    fn takes_all(&self) -> bool {
        let texts = [&self.text, &self.stage, &self.kind, &self.zone, &self.site, &self.connection];
        texts.iter().all(|text| text.trim().is_empty()) && self.attention == 0 && self.level < 0
    }

    fn params(&self) -> Vec<Value> {
        let like = match self.text.trim() {
            "" => String::new(),
            text => {
                let escaped = text
                    .to_lowercase()
                    .replace('\\', "\\\\")
                    .replace('%', "\\%")
                    .replace('_', "\\_");
                format!("%{escaped}%")
            }
        };
        params![
            like,
            &self.stage,
            &self.kind,
            &self.zone,
            &self.site,
            &self.connection,
            self.attention,
            self.level
        ]
    }
}

impl Sort {
    const ALL: [Self; 4] = [Self::Attention, Self::Id, Self::Seen, Self::Created];

    /// Names the column that comes before the id, and its place among what is read.
    fn column(self) -> Option<(&'static str, usize)> {
        match self {
            Self::Attention => Some(("d.attention", 14)),
            Self::Id => None,
            Self::Seen => Some(("d.seen", 13)),
            Self::Created => Some(("d.created", 15)),
        }
    }
}

/// By which way the database comes to the rows. What a filter says is all in `WHERE`; where there
/// is an index for a part of it, that part is said once more, so that the index can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    /// In the order of the table, until there are enough.
    Order,
    /// Over all rows: a filter that takes few finds them sooner so.
    All,
    Kind,
    Zone,
    Site,
    Attention,
    Connected,
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Order,
        Self::All,
        Self::Kind,
        Self::Zone,
        Self::Site,
        Self::Attention,
        Self::Connected,
    ];

    fn to_count(filter: &Filter) -> Self {
        match Self::by_index(filter) {
            None if !filter.site.is_empty() => Self::Site,
            None => Self::All,
            Some(way) => way,
        }
    }

    /// Chooses, when it is known how many rows there are and how far the page reaches.
    fn to_rows(filter: &Filter, total: u64, reach: i64) -> Self {
        let takes_few = || u64::try_from(reach).unwrap_or(u64::MAX).saturating_mul(2) > total;
        match Self::by_index(filter) {
            None if !filter.takes_all() && takes_few() => Self::All,
            None => Self::Order,
            Some(way) => way,
        }
    }

    fn by_index(filter: &Filter) -> Option<Self> {
        if filter.attention > 0 {
            Some(Self::Attention)
        } else if filter.connection == "connected" {
            Some(Self::Connected)
        } else if !filter.kind.is_empty() {
            Some(Self::Kind)
        } else if !filter.zone.is_empty() {
            Some(Self::Zone)
        } else {
            None
        }
    }

    /// Says a part of the filter so that its index can be used.
    fn says(self) -> &'static str {
        match self {
            Self::Order | Self::All => "",
            Self::Kind => "and d.kind = $3",
            Self::Zone => "and d.zone = $4",
            Self::Site => "and d.zone in (select w.id from zone w where w.site = $5)",
            Self::Attention => "and d.attention >= $7",
            Self::Connected => "and d.connection = 'connected'",
        }
    }
}

/// What the text of a page's query depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Query {
    sort: Sort,
    descending: bool,
    /// Whether it begins after a row.
    follows: bool,
    way: Way,
}

impl Query {
    fn text(self) -> &'static str {
        static TEXTS: LazyLock<HashMap<Query, String>> = LazyLock::new(|| {
            let mut texts = HashMap::new();
            for (sort, way) in Sort::ALL.into_iter().flat_map(|s| Way::ALL.map(|way| (s, way))) {
                for (descending, follows) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    let query = Query { sort, descending, follows, way };
                    texts.insert(query, query.write());
                }
            }
            texts
        });
        TEXTS.get(&self).map_or("", String::as_str)
    }

    /// Writes the query: which rows, forwards or backwards, and then what is in them.
    ///
    /// Rows of one value are in the order of their ids when the values fall, and the other way
    /// round when they rise: so one index serves both.
    fn write(self) -> String {
        let Self { sort, descending, follows, way } = self;
        let (than, order) = if descending { ("<", "desc") } else { (">", "asc") };
        let (after, order, unordered) = match sort.column() {
            None => (
                format!("and d.id {than} $11"),
                format!("d.id {order}"),
                format!("d.id || '' {order}"),
            ),
            Some((key, _)) => {
                let (id_than, id_order) = if descending { (">", "asc") } else { ("<", "desc") };
                (
                    format!("and {key} {than}= $11 and ({key} {than} $11 or d.id {id_than} $12)"),
                    format!("{key} {order}, d.id {id_order}"),
                    format!("+{key} {order}, d.id {id_order}"),
                )
            }
        };
        // The same order, in words for which there is no index.
        let found_by = if way == Way::All { &unordered } else { &order };
        let after = if follows { after.as_str() } else { "" };
        // First the rows, then what is in them: `cross join` keeps SQLite to that.
        format!(
            "select {} from (select d.id from device d where {WHERE} {} {after} \
             order by {found_by} limit $9 offset $10) p cross join device d {} \
             where d.id = p.id order by {order}",
            view::COLUMNS,
            way.says(),
            view::BESIDE
        )
    }
}
