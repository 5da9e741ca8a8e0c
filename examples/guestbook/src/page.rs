//! The page. Whatever a visitor wrote is escaped before it is in it.

use crate::book::Message;

const STYLE: &str = include_str!("page.css");

/// The guestbook as HTML, the newest message first.
pub(crate) fn html(messages: &[Message], instance: &str) -> String {
    let list: String = messages.iter().rev().map(entry).collect();
    let list = if list.is_empty() { "<p class=\"none\">Nobody yet. Be the first.</p>".into() } else { list };
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Guestbook</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Guestbook</h1>
<form method="post" action="/messages">
<label>Name <input name="name" maxlength="60" autocomplete="name"></label>
<label>Message <textarea name="text" rows="3" maxlength="1000" required></textarea></label>
<button>Sign</button>
</form>
<section aria-label="Messages">
{list}</section>
<footer>Answered by {}</footer>
</main>
</body>
</html>
"#,
        escaped(instance)
    )
}

fn entry(message: &Message) -> String {
    let (when, name, text) = (time(message.at), escaped(&message.name), escaped(&message.text));
    format!(
        "<article><header><b>{name}</b> <time datetime=\"{when}\">{}</time></header><p>{text}</p></article>\n",
        when.replace('T', " ").trim_end_matches('Z')
    )
}

/// Text as HTML, in an element or in an attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

/// Seconds since 1970 as `2026-11-21T09:30Z`.
fn time(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}Z", seconds / 3600 % 24, seconds / 60 % 60)
}

/// Days since 1970 as year, month and day (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", civil_from_days).
fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, turned) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + turned, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_visitors_write_is_text_and_no_html() {
        let evil = "<script>alert('1')</script> & \"x\"";
        let message = Message { at: 0, name: evil.into(), text: evil.into() };
        let page = html(&[message], "<b>host");
        assert!(!page.contains("<script") && !page.contains("<b>host"), "{page}");
        let safe = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;";
        assert_eq!(page.matches(safe).count(), 2, "{page}");
    }

    #[test]
    fn the_newest_is_on_top() {
        let message = |text: &str| Message { at: 0, name: "a".into(), text: text.into() };
        let page = html(&[message("first"), message("second")], "h");
        assert!(page.find("second") < page.find("first"));
        assert!(html(&[], "h").contains("Be the first"));
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(time(0), "1970-01-01T00:00Z");
        assert_eq!(time(951_782_400), "2000-02-29T00:00Z");
        assert_eq!(time(1_795_253_459), "2026-11-21T09:30Z");
        assert_eq!(time(4_107_542_399), "2100-02-28T23:59Z");
        assert_eq!(time(4_107_542_400), "2100-03-01T00:00Z");
    }
}
