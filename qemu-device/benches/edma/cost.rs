// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an element costs, by the length of the list and the number of channels: a table and a plot.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;

use crate::board::Board;
use crate::figures::{median, side_by_side, SMALL};
use crate::list::Elements;

/// Elements in each channel's list.
const COUNTS: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];
/// Channels at work at a time.
const CHANNELS: [usize; 4] = [1, 2, 4, 8];
/// Each channel moves the same bytes again and again: what is asked for is the cost of an element, not
/// that of the host's caches.
const WINDOW: usize = 16 << 10;
/// How often each is measured.
const ROUNDS: usize = 7;

const fn elements(count: usize) -> Elements {
    Elements {
        count,
        size: SMALL,
        window: WINDOW,
    }
}

/// Nanoseconds per element.
pub struct Costs {
    /// By channels, then by elements of a list.
    times: Vec<Vec<Duration>>,
}

impl Costs {
    /// Takes all measurements, in turns.
    pub fn measure(board: &mut Board) -> Self {
        let mut samples = vec![vec![Vec::new(); COUNTS.len()]; CHANNELS.len()];
        for _ in 0..ROUNDS {
            for (row, channels) in samples.iter_mut().zip(CHANNELS) {
                for (cell, count) in row.iter_mut().zip(COUNTS) {
                    cell.push(side_by_side(board, channels, elements(count)));
                }
            }
        }
        let rows = samples.into_iter();
        Self {
            times: rows
                .map(|row| row.into_iter().map(median).collect())
                .collect(),
        }
    }

    /// All that the transfer of `row` and `column` took, in nanoseconds per element.
    fn per_element(&self, row: usize, column: usize) -> f64 {
        let elements = CHANNELS[row] * COUNTS[column];
        self.times[row][column].as_secs_f64() * 1e9 / elements as f64
    }

    /// What each element beyond those of the column before has added, in nanoseconds: doorbells,
    /// wake-ups and interrupts, which a list has once, are not in it.
    fn marginal(&self, row: usize, column: usize) -> Option<f64> {
        let before = column.checked_sub(1)?;
        let elements = CHANNELS[row] * (COUNTS[column] - COUNTS[before]);
        let [now, then] = [column, before].map(|at| self.times[row][at].as_secs_f64());
        Some((now - then) * 1e9 / elements as f64)
    }

    /// Draws the costs into an SVG file.
    pub fn plot(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let root = SVGBackend::new(path, (800, 500)).into_drawing_area();
        root.fill(&WHITE)?;
        let all = (0..CHANNELS.len())
            .flat_map(|row| (0..COUNTS.len()).map(move |column| self.per_element(row, column)));
        let (low, high) = all.fold((f64::MAX, 1.0), |(low, high), value| {
            (f64::min(low, value), f64::max(high, value))
        });
        let mut chart = ChartBuilder::on(&root)
            .caption(
                format!("eDMA: cost per element of {SMALL} bytes"),
                ("sans-serif", 18),
            )
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(
                (1f64..COUNTS[COUNTS.len() - 1] as f64).log_scale(),
                (low / 2.0..high * 2.0).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc("elements in each channel's list")
            .y_desc("ns per element, doorbell to interrupt")
            .draw()?;
        for (row, channels) in CHANNELS.into_iter().enumerate() {
            let color = Palette99::pick(row).to_rgba();
            let points = (0..COUNTS.len())
                .map(|column| (COUNTS[column] as f64, self.per_element(row, column)));
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))?
                .label(format!("{channels} channels"))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
        }
        chart
            .configure_series_labels()
            .border_style(BLACK)
            .background_style(WHITE)
            .draw()?;
        root.present()?;
        Ok(())
    }

    /// The figures for programs.
    pub fn json(&self) -> serde_json::Value {
        let row = |row: usize| -> Vec<f64> {
            (0..COUNTS.len())
                .map(|column| self.per_element(row, column))
                .collect()
        };
        serde_json::json!({
            "elements": COUNTS,
            "channels": CHANNELS,
            "ns_per_element": (0..CHANNELS.len()).map(row).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# ns per element of {SMALL} bytes, doorbell to interrupt (in brackets: what each further one adds)")?;
        write!(f, "{:<12}", "elements")?;
        for channels in CHANNELS {
            write!(f, "{:>22}", format!("{channels} channels"))?;
        }
        writeln!(f)?;
        for (column, count) in COUNTS.into_iter().enumerate() {
            write!(f, "{count:<12}")?;
            for row in 0..CHANNELS.len() {
                let marginal = match self.marginal(row, column) {
                    Some(marginal) => format!(" ({marginal:.0})"),
                    None => String::new(),
                };
                write!(
                    f,
                    "{:>22}",
                    format!("{:.0}{marginal}", self.per_element(row, column))
                )?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
