//! The name of a conflict copy: `stem.sync-conflict-YYYYMMDD-HHMMSS-<8 hex>.ext`, the same on every device.

use zerok_protocol::ChainId;

use crate::path::MAX_FILE_NAME;

const NS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// A longer ending is part of the stem: cutting it would change what the file is less than losing the whole stem.
const MAX_EXTENSION: usize = 32;

/// The name for the copy of `name` whose record has this mtime (Unix nanoseconds) and author.
pub(crate) fn conflict_name(name: &str, mtime_ns: i64, by: &ChainId) -> String {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, ext)) if !stem.is_empty() && !ext.is_empty() && ext.len() <= MAX_EXTENSION => {
            (stem, Some(ext))
        }
        _ => (name, None),
    };
    let by: String = by.to_hex().chars().take(8).collect();
    let mut tail = format!(".sync-conflict-{}-{by}", timestamp(mtime_ns));
    if let Some(extension) = extension {
        tail.push('.');
        tail.push_str(extension);
    }
    format!("{}{tail}", cut_to(stem, MAX_FILE_NAME.saturating_sub(tail.len())))
}

/// As much of the beginning as fits in `max` bytes.
fn cut_to(text: &str, max: usize) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= max).last();
    end.and_then(|end| text.get(..end)).unwrap_or("")
}

/// `YYYYMMDD-HHMMSS` in UTC. Nanoseconds in an i64 reach from 1677 to 2262, so the year has four digits.
fn timestamp(ns: i64) -> String {
    let seconds = ns.div_euclid(NS_PER_SECOND);
    let (day, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
    let (year, month, date) = civil(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{date:02}-{hour:02}{minute:02}{second:02}")
}

/// The Gregorian date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
fn civil(day: i64) -> (i64, i64, i64) {
    let z = day + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: ChainId = ChainId([0x1f; 16]);

    #[test]
    fn dates_are_right_across_leap_years_and_before_the_epoch() {
        for (seconds, text) in [
            (0, "19700101-000000"),
            (-1, "19691231-235959"),
            (951_782_400, "20000229-000000"),
            (1_709_164_799, "20240228-235959"),
            (1_709_251_199, "20240229-235959"),
            (4_102_444_800, "21000101-000000"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert_eq!(timestamp(seconds * NS_PER_SECOND), text);
        }
        assert_eq!(timestamp(i64::MIN), "16770921-001243");
        assert_eq!(timestamp(i64::MAX), "22620411-234716");
    }

    #[test]
    fn the_ending_stays_at_the_end() {
        for (name, want) in [
            ("a.txt", "a.sync-conflict-19700101-000000-1f1f1f1f.txt"),
            ("a", "a.sync-conflict-19700101-000000-1f1f1f1f"),
            (".bashrc", ".bashrc.sync-conflict-19700101-000000-1f1f1f1f"),
            ("a.", "a..sync-conflict-19700101-000000-1f1f1f1f"),
        ] {
            assert_eq!(conflict_name(name, 0, &BY), want);
        }
    }

    #[test]
    fn a_long_stem_is_cut_between_characters() {
        for name in ["ä".repeat(127), format!("{}.txt", "本".repeat(83)), format!("a.{}", "e".repeat(253))]
        {
            let copy = conflict_name(&name, 0, &BY);
            assert!(copy.len() <= MAX_FILE_NAME && copy.len() > MAX_FILE_NAME - 4, "{}", copy.len());
            assert!(copy.contains(".sync-conflict-"));
        }
    }
}
