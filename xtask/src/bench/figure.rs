//! Figures: what the turns of a measurement come to, and how they are shown.

use serde::Deserialize;
use serde_json::{Value, json};

/// One turn of a measurement: what ours came to, and what the peer came to right beside it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Turn {
    pub(super) figure: String,
    pub(super) unit: String,
    pub(super) ours: f64,
    pub(super) peer: Option<f64>,
    pub(super) peer_name: Option<String>,
}

/// What was aimed at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aim {
    Least(f64),
    Most(f64),
    /// Of what the peer comes to.
    LeastOfPeer(f64),
}

/// All turns of one figure against one peer.
pub(super) struct Figure {
    name: String,
    unit: String,
    ours: Spread,
    peer: Option<(String, Spread)>,
    aim: Option<Aim>,
}

/// The median of some turns, and their least and most.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    /// Gathers the turns of each figure and peer, in the order in which they came first; the aim
    /// of a figure stands beside its first peer.
    pub(super) fn gather(turns: Vec<Turn>, aims: &[(&str, Aim)]) -> Vec<Self> {
        let mut groups: Vec<Vec<Turn>> = Vec::new();
        for turn in turns {
            let is_same = |group: &&mut Vec<Turn>| {
                group.iter().all(|it| it.figure == turn.figure && it.peer_name == turn.peer_name)
            };
            match groups.iter_mut().find(is_same) {
                Some(group) => group.push(turn),
                None => groups.push(vec![turn]),
            }
        }
        let mut aims = aims.to_vec();
        groups.iter().filter_map(|group| Self::of(group, &mut aims)).collect()
    }

    fn of(turns: &[Turn], aims: &mut Vec<(&str, Aim)>) -> Option<Self> {
        let first = turns.first()?;
        let peer = Spread::of(turns.iter().filter_map(|turn| turn.peer).collect());
        let aim = aims.iter().position(|(figure, _)| *figure == first.figure);
        Some(Self {
            name: first.figure.clone(),
            unit: first.unit.clone(),
            ours: Spread::of(turns.iter().map(|turn| turn.ours).collect())?,
            peer: first.peer_name.clone().zip(peer),
            aim: aim.map(|idx| aims.remove(idx).1),
        })
    }

    fn ratio(&self) -> Option<f64> {
        self.peer.as_ref().map(|(_, peer)| self.ours.median / peer.median)
    }

    /// Says in one line of JSON what it came to.
    pub(super) fn json(&self, bench: &str) -> Value {
        json!({
            "bench": bench,
            "figure": self.name,
            "ours": self.ours.median,
            "peer": self.peer.as_ref().map(|(_, peer)| peer.median),
            "peer_name": self.peer.as_ref().map(|(name, _)| name),
            "ratio": self.ratio(),
            "unit": self.unit,
        })
    }

    fn row(&self) -> [String; 7] {
        let (peer, peer_name) = match &self.peer {
            Some((name, peer)) => (peer.text(), name.clone()),
            None => Default::default(),
        };
        let ratio = self.ratio().map(number).unwrap_or_default();
        let aim = self.aim.map(|aim| self.judge(aim)).unwrap_or_default();
        [self.name.clone(), self.ours.text(), peer, ratio, self.unit.clone(), aim, peer_name]
    }

    fn judge(&self, aim: Aim) -> String {
        let ours = self.ours.median;
        let (text, is_met) = match aim {
            Aim::Least(least) => (format!("≥ {}", number(least)), ours >= least),
            Aim::Most(most) => (format!("≤ {}", number(most)), ours <= most),
            Aim::LeastOfPeer(least) => {
                let is_met = self.ratio().is_some_and(|ratio| ratio >= least);
                (format!("ratio ≥ {}", number(least)), is_met)
            }
        };
        format!("{text}: {}", if is_met { "met" } else { "missed" })
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = match values.len().is_multiple_of(2) {
            true => (values.get(half - 1)? + values.get(half)?) / 2.0,
            false => *values.get(half)?,
        };
        Some(Self { median, least, most })
    }

    fn text(self) -> String {
        format!("{} ({}–{})", number(self.median), number(self.least), number(self.most))
    }
}

/// Writes a table, in Markdown so that it can go into a document as it is.
pub(super) fn table(figures: &[Figure]) -> String {
    let heads = ["figure", "ours", "peer", "ratio", "unit", "aim", "the peer is"];
    let rule = ["---", "---:", "---:", "---:", "---", "---", "---"];
    let rows: Vec<_> = figures.iter().map(Figure::row).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads.get(column).map_or(0, |head| head.len()), 4]).max().unwrap_or(0)
    };
    let line = |cells: &[&str]| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            // Numbers stand to the right.
            if (1..=3).contains(&column) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:width$}")
            }
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rows = rows.iter().map(|row| line(&row.each_ref().map(String::as_str)));
    line(&heads) + &line(&rule) + &rows.collect::<String>()
}

/// Writes a number with three or more digits that mean something, in groups of thousands.
fn number(value: f64) -> String {
    let n_decimals = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.n_decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (idx, digit) in whole.chars().enumerate() {
        if idx > 0 && (whole.len() - idx).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(figure: &str, ours: f64, peer: f64) -> Turn {
        let peer_name = Some("the disk".to_owned());
        Turn { figure: figure.into(), unit: "events/s".into(), ours, peer: Some(peer), peer_name }
    }

    #[test]
    fn medians_and_their_spread_are_shown_beside_the_peers_and_the_aim() {
        let turns = vec![
            turn("durable", 30_000.0, 10.0),
            turn("other", 1.0, 1.0),
            turn("durable", 10_000.0, 30.0),
            turn("durable", 20_000.0, 20.0),
        ];
        let figures = Figure::gather(turns, &[("durable", Aim::Least(20_001.0))]);
        let table = table(&figures);
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(rows.len(), 2);
        let cells: Vec<_> = rows[0].trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(
            cells,
            [
                "durable",
                "20,000 (10,000–30,000)",
                "20.0 (10.0–30.0)",
                "1,000",
                "events/s",
                "≥ 20,001: missed",
                "the disk"
            ]
        );
        let json = figures[0].json("ledger");
        assert_eq!(
            json,
            json!({"bench": "ledger", "figure": "durable", "ours": 20_000.0, "peer": 20.0,
                   "peer_name": "the disk", "ratio": 1000.0, "unit": "events/s"})
        );
    }

    #[test]
    fn a_figure_without_a_peer_has_no_ratio() {
        let turn = Turn { peer: None, peer_name: None, ..turn("ready", 0.5, 0.0) };
        let figures = Figure::gather(vec![turn], &[("ready", Aim::Most(1.0))]);
        assert_eq!(figures[0].json("start")["ratio"], Value::Null);
        assert!(table(&figures).contains("≤ 1.00: met"));
    }

    #[test]
    fn numbers_are_short_and_grouped() {
        let texts = [1_234_567.8, 999.6, 99.96, 9.996, 0.5].map(number);
        assert_eq!(texts, ["1,234,568", "1,000", "100.0", "10.00", "0.500"]);
    }
}
