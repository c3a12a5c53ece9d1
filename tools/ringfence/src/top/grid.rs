//! Rows and columns that can be sorted and filtered.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

/// One thing in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Text(String),
    /// A whole number.
    Count(u64),
    /// So many a second.
    Rate(f64),
    /// Bits a second.
    Bits(f64),
    /// A share, 0 to 1.
    Share(f64),
    /// Seconds ago.
    Ago(u64),
    /// Not known.
    None,
}

impl Cell {
    /// For people, in a few characters.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(n) => short(*n as f64, true),
            Self::Rate(rate) => short(*rate, false),
            Self::Bits(rate) => short(*rate, false),
            Self::Share(share) => format!("{:.0} %", share * 100.0),
            Self::Ago(seconds) => match seconds {
                0..120 => format!("{seconds} s"),
                120..7200 => format!("{} min", seconds / 60),
                7200..172_800 => format!("{} h", seconds / 3600),
                _ => format!("{} d", seconds / 86_400),
            },
            Self::None => "-".into(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(n) | Self::Ago(n) => json!(n),
            Self::Rate(n) | Self::Bits(n) | Self::Share(n) => json!(n),
            Self::None => Value::Null,
        }
    }

    const fn number(&self) -> Option<f64> {
        match self {
            Self::Count(n) | Self::Ago(n) => Some(*n as f64),
            Self::Rate(n) | Self::Bits(n) | Self::Share(n) => Some(*n),
            Self::Text(_) | Self::None => None,
        }
    }
}

/// `7`, `1.23k`, `45.6M`: three digits at most before a unit.
fn short(number: f64, whole: bool) -> String {
    let units = ["", "k", "M", "G", "T", "P", "E"];
    let (mut value, mut unit) = (number, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match (unit, value) {
        (0, _) if whole => 0,
        (0, 0.0) => 0,
        (_, v) if v >= 99.95 => 0,
        (_, v) if v >= 9.995 => 1,
        (0, _) => 1,
        _ => 2,
    };
    format!("{value:.digits$}{}", units[unit])
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Its heading.
    pub(super) title: &'static str,
    /// Its width; 0 takes what is left, shared with others of that kind.
    pub(super) width: u16,
    /// Its name in JSON.
    pub(super) key: &'static str,
}

impl Column {
    pub(super) const fn new(title: &'static str, width: u16, key: &'static str) -> Self {
        Self { title, width, key }
    }
}

/// A table that can be sorted by any of its columns.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) title: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<Cell>>,
    /// The column by which it is sorted unless told otherwise.
    pub(super) first_sort: usize,
}

impl Grid {
    /// Numbers fall, words rise; the other way round if `reversed`. Rows keep their order among equals.
    pub(super) fn sort(&mut self, column: usize, reversed: bool) {
        let order = |a: &Vec<Cell>, b: &Vec<Cell>| -> Ordering {
            match (&a[column], &b[column]) {
                (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
                // What is not known comes last.
                (a, b) => {
                    let number = |cell: &Cell| cell.number().unwrap_or(f64::NEG_INFINITY);
                    number(b).total_cmp(&number(a))
                }
            }
        };
        self.rows.sort_by(|a, b| if reversed { order(b, a) } else { order(a, b) });
    }

    /// The rows that hold `text` in any of their words.
    pub(super) fn matching(&self, text: &str) -> impl Iterator<Item = &Vec<Cell>> {
        let text = text.to_lowercase();
        self.rows.iter().filter(move |row| {
            text.is_empty()
                || row
                    .iter()
                    .any(|cell| matches!(cell, Cell::Text(word) if word.to_lowercase().contains(&text)))
        })
    }

    pub(super) fn json(&self, filter: &str) -> Value {
        let row = |row: &Vec<Cell>| -> Value {
            let cells = self.columns.iter().zip(row);
            Value::Object(
                cells.map(|(column, cell)| (column.key.to_owned(), cell.json())).collect::<Map<_, _>>(),
            )
        };
        self.matching(filter).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_few_characters() {
        for (number, whole, expected) in [
            (0.0, true, "0"),
            (7.0, true, "7"),
            (999.0, true, "999"),
            (1000.0, true, "1.00k"),
            (12_345.0, true, "12.3k"),
            (999_700.0, true, "1.00M"),
            (123_456_789.0, true, "123M"),
            (0.0, false, "0"),
            (0.26, false, "0.3"),
            (1.0, false, "1.0"),
            (45.67, false, "45.7"),
            (1234.0, false, "1.23k"),
            (2.5e10, false, "25.0G"),
            (1e30, false, "1000000000000E"),
        ] {
            assert_eq!(short(number, whole), expected, "{number}");
        }
    }

    #[test]
    fn rows_are_sorted_and_filtered() {
        const COLUMNS: &[Column] = &[Column::new("NAME", 0, "name"), Column::new("N", 5, "n")];
        let row = |name: &str, n: Cell| vec![Cell::Text(name.into()), n];
        let mut grid = Grid {
            title: "t",
            columns: COLUMNS,
            rows: vec![row("b", Cell::Count(1)), row("Aa", Cell::None), row("c", Cell::Count(9))],
            first_sort: 1,
        };
        let names = |grid: &Grid, filter: &str| -> String {
            grid.matching(filter).map(|row| row[0].text()).collect::<Vec<_>>().join(" ")
        };
        for (column, reversed, expected) in
            [(1, false, "c b Aa"), (1, true, "Aa b c"), (0, false, "Aa b c"), (0, true, "c b Aa")]
        {
            grid.sort(column, reversed);
            assert_eq!(names(&grid, ""), expected);
        }
        assert_eq!(names(&grid, "AA"), "Aa");
        assert_eq!(names(&grid, "x"), "");
        assert_eq!(grid.json("c"), json!([{"name": "c", "n": 9}]));
    }
}
