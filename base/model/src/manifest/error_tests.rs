//! Every error, at its exact place. In these texts «…» marks what the error must point at.

use super::*;
use crate::Code;

const HEAD: &str = "schema = 1\napp = \"a\"\n";
const WEB: &str = "[process.web]\nimage = \"a:1\"\n";
const ENDPOINT: &str = "[[endpoint]]\nprocess = \"web\"\nlisten = 80\ntarget = 80\n";

/// The text without its marks, and the line, column and text of each mark.
fn unmark(marked: &str) -> (String, Vec<(usize, usize, String)>) {
    let (mut text, mut marks, mut open) = (String::new(), Vec::new(), false);
    for c in marked.chars() {
        match c {
            '«' => {
                let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                marks.push((text.matches('\n').count() + 1, column, String::new()));
                open = true;
            }
            '»' => open = false,
            c => {
                text.push(c);
                if let (true, Some((_, _, marked))) = (open, marks.last_mut()) {
                    marked.push(c);
                }
            }
        }
    }
    (text, marks)
}

fn errors(text: &str) -> Diagnostics {
    match Manifest::parse("freehold.toml", text, &"prod".parse().unwrap()) {
        Ok(_) => panic!("this parsed:\n{text}"),
        Err(errors) => errors,
    }
}

/// Asserts that the marked places and no others are wrong, with messages or help that contain `says`.
fn check(marked: &str, says: &[&str]) {
    let (text, marks) = unmark(marked);
    let errors = errors(&text);
    let found: Vec<_> = errors.list.iter().map(|d| (d.line, d.column, d.text.clone())).collect();
    assert_eq!(found, marks, "in\n{marked}\nfound\n{errors}");
    assert_eq!(errors.list.len(), says.len(), "{errors}");
    for (one, says) in errors.list.iter().zip(says) {
        let said = format!("{}; {}", one.message, one.help.as_deref().unwrap_or_default());
        assert!(said.contains(says), "`{says}` is not in `{said}`");
    }
}

/// The same for lines of `[process.web]`.
fn in_process(marked: &str, says: &str) {
    check(&format!("{HEAD}{WEB}{marked}\n"), &[says]);
}

#[test]
fn the_file() {
    check("«»app = \"a\"\n[process.web]\nimage = \"a\"", &["`schema` is missing"]);
    check("«»schema = 1\napp = \"a\"", &["`process` is missing"]);
    check("schema = 1\napp = \"a\"\n«process» = {}", &["there is no process"]);
    check("schema = «2»\napp = \"a\"\n[process.web]\nimage = \"a\"", &["out of range: it may be 1 to 1"]);
    check("schema = 1\napp = «\"A b\"»\n[process.web]\nimage = \"a\"", &["is not a name"]);
    check(
        "schema = 1\napp = \"a\"\n[«proces».web]\nimage = \"a\"\n[[endpoint]]\nprocess = \"web\"\nlisten = 1\ntarget = 1",
        &["did you mean `process`?"],
    );
    check("schema = 1\napp = \"a\"\nprocess = «[]»", &["expected a table, found a list"]);
}

#[test]
fn syntax() {
    check("schema = 1\napp = «»\n[process.web]\nimage = \"a\"", &["this is not TOML"]);
    let twice = format!("{HEAD}{WEB}«image» = \"b\"\n«memroy» = \"1MiB\"");
    check(&twice, &["this key is there already", "did you mean `memory`?"]);
    check(&format!("{HEAD}{WEB}[process.«web»]\ncount = 2"), &["this key is there already"]);
    let two = errors("a = = 1\nb = [1\n");
    assert!(two.list.len() >= 2, "{two}");
    assert_eq!(two.problem().code, Code::Invalid);
    errors(&format!("a = {}{}", "[".repeat(5000), "]".repeat(5000)));
}

#[test]
fn processes() {
    check(&format!("{HEAD}[process.«web»]\ncount = 1"), &["`image` is missing"]);
    check(&format!("{HEAD}[process.«web».check]\ntcp = true\nport = 1"), &["`image` is missing"]);
    check(&format!("{HEAD}[process.«Web»]\nimage = \"a\""), &["is not a name"]);
    check(&format!("{HEAD}[process.web]\nimage = «\"A:1\"»"), &["not an image reference"]);
    check(&format!("{HEAD}[process.web]\nimage = «7»"), &["expected text, found a whole number"]);
    check(&format!("{HEAD}[process.web]\n«imge» = \"a\""), &["did you mean `image`?"]);
    in_process("«xyzzy» = 1", "the keys here are `image`, `command`");
    in_process("count = «1001»", "out of range: it may be 0 to 1000");
    in_process("count = «-1»", "`-1` is out of range");
    in_process("count = «99999999999999999999»", "out of range");
    in_process("count = «2.0»", "expected a whole number, found a decimal number");
    in_process("count = «\"2\"»", "without quotes: 2");
    in_process("cpu = «2»", "write it in quotes: \"2\"");
    in_process("cpu = «\"0\"»", "out of range: it may be 1m to 1024000m");
    in_process("cpu = «\"1025\"»", "out of range");
    in_process("cpu = «\"-1\"»", "is not an amount of processor");
    in_process("memory = «\"64mb\"»", "is not a size; write it like `64MiB`");
    in_process("memory = «\"1MiB\"»", "out of range: it may be 4MiB to 1024TiB");
    in_process("memory = «\"1025TiB\"»", "out of range");
    in_process("memory = «64»", "\"64MiB\"");
    in_process("stop_timeout = «\"0s\"»", "out of range: it may be 1ms to 1h");
    in_process("stop_timeout = «10»", "\"10s\"");
    in_process("driver = «\"vm\"»", "is not one of `container`, `process`");
    in_process("driver = «\"proces\"»", "did you mean `process`?");
    in_process("command = «[]»", "the list is empty");
    in_process("command = «\"/a -v\"»", "in brackets");
    in_process("command = [«\"\"»]", "the program's name is empty");
    in_process("command = [\"/a\", «1»]", "expected text, found a whole number");
    in_process("command = [\"/a\", «\"b\\u0000\"»]", "NUL");
    in_process("env = { «\"A=B\"» = \"1\" }", "it has a `=`");
    in_process("env = { «\"\"» = \"1\" }", "cannot be empty");
    in_process("env = { «\"A\\u0000\"» = \"1\" }", "NUL");
    in_process("env = { A = «\"\\u0000\"» }", "NUL");
    in_process("env = { PORT = «8080» }", "\"8080\"");
    in_process("env = { DEBUG = «true» }", "\"true\"");
    in_process("env = «\"A=1\"»", "expected a table, found text");
    in_process("stop_timeout = «1979-05-27»", "found a date or time");
}

#[test]
fn checks() {
    in_process("command = [\"/a\"]\n«args» = [\"-v\"]", "put the arguments into `command`");
    in_process("«check» = {}", "the check tries nothing");
    in_process("check = { tcp = true, «http» = \"/\", port = 1 }", "one more");
    check(
        &format!("{HEAD}{WEB}check = {{ http = \"/\", «tcp» = true, «command» = [\"/a\"] }}"),
        &["one more", "one more"],
    );
    in_process("check = { tcp = «false», port = 1 }", "leave the key out");
    in_process("check = { http = «\"healthz\"», port = 1 }", "write it like `/healthz`");
    in_process("check = { http = «\"/a b\"», port = 1 }", "white space");
    in_process("check = { http = \"/\", port = «0» }", "it may be 1 to 65535");
    in_process("check = { http = \"/\", port = «65536» }", "it may be 1 to 65535");
    in_process("«check» = { http = \"/\" }", "`port` is missing");
    in_process("check = { command = [\"/a\"], «port» = 1 }", "a command needs no port");
    in_process("check = { command = «[]» }", "the list is empty");
    in_process("check = { tcp = true, port = 1, timeout = «\"0s\"» }", "out of range");
    in_process("check = { tcp = true, port = 1, every = «\"0s\"» }", "out of range");
    in_process("check = { tcp = true, port = 1, unhealthy_after = «0» }", "it may be 1 to 1000");
    in_process("check = { tcp = true, port = 1, restart_after = «\"2h\"» }", "it may be 1s to 1h");
    in_process("check = { tcp = true, port = 1, restart_after = «\"nie\"» }", "is not a length of time");
    in_process("check = { tcp = true, port = 1, restart_after = «false» }", "write it in quotes: \"never\"");
    in_process("check = { «htpp» = \"/\", port = 1 }", "did you mean `http`?");
    let other = "[[endpoint]]\nprocess = \"web\"\nlisten = 81\ntarget = 81\n";
    let ambiguous = format!("{HEAD}{WEB}«check» = {{ tcp = true }}\n{ENDPOINT}{other}");
    check(&ambiguous, &["different targets"]);
}

#[test]
fn endpoints() {
    let with = |marked: &str, says: &[&str]| check(&format!("{HEAD}{WEB}{marked}"), says);
    with("«[[endpoint]]»\nprocess = \"web\"\nlisten = 80", &["`target` is missing"]);
    with("[[endpoint]]\nprocess = «\"wbe\"»\nlisten = 80\ntarget = 80", &["did you mean `web`?"]);
    with("[[endpoint]]\nprocess = «\"other\"»\nlisten = 80\ntarget = 80", &["there is no process `other`"]);
    with("[[endpoint]]\nprocess = \"web\"\nlisten = «0»\ntarget = «65536»", &["1 to 65535", "1 to 65535"]);
    with("[[endpoint]]\nprocess = \"web\"\nlisten = «-8»\ntarget = 1", &["1 to 65535"]);
    with(&format!("{ENDPOINT}{}", ENDPOINT.replace("80\nt", "«80»\nt")), &["listens on 80 already"]);
    with(&format!("{ENDPOINT}protocol = «\"http\"»"), &["is not one of `tcp`, `udp`"]);
    with(&format!("{ENDPOINT}proxy_protocol = «\"v3\"»"), &["is not one of `off`, `v1`, `v2`"]);
    with(&format!("{ENDPOINT}protocol = \"udp\"\nproxy_protocol = «\"v2\"»"), &["not spoken over UDP"]);
    with(
        &format!("{ENDPOINT}trusted_proxies = [\"::1\", «\"10.0.0.1/8\"», «\"proxy.lan\"», «8»]"),
        &["did you mean `10.0.0.0/8`", "neither an address nor a network", "expected text"],
    );
    with(&format!("{ENDPOINT}protocol = \"udp\"\n«trusted_proxies» = [\"::1\"]"), &["not spoken over UDP"]);
    with(&format!("{ENDPOINT}idle_timeout = «\"10ms\"»"), &["out of range"]);
    with(&format!("{ENDPOINT}max_connections = «0»"), &["it may be 1 to 1000000"]);
    let udp = format!("{ENDPOINT}protocol = \"udp\"\n");
    with(&format!("{udp}{}", udp.replace("80\nt", "«80»\nt")), &["listens on 80 already"]);
    with(&format!("{udp}[process.web.«check»]\ntcp = true"), &["TCP endpoints, which could tell, are none"]);
    with(&format!("{ENDPOINT}«targt» = 1"), &["did you mean `target`?"]);
    check(&format!("{HEAD}endpoint = [«1»]\n{WEB}"), &["expected a table"]);
}

#[test]
fn order() {
    let with = |marked: &str, says: &[&str]| check(&format!("{HEAD}{WEB}{marked}"), says);
    let db = "[process.db]\nimage = \"d:1\"\n";
    with(&format!("after = [«\"bd\"»]\n{db}"), &["did you mean `db`?"]);
    with("after = [«\"web\"»]", &["web → web"]);
    with(
        &format!("after = [«\"db\"»]\n{db}after = [«\"web\"»]"),
        &["nothing of this circle can start first: web → db → web", "db → web → db"],
    );
    let chain = "[process.b]\nimage = \"b\"\nafter = [«\"c\"»]\n[process.c]\nimage = \"c\"\n";
    let straight = chain.replace(['«', '»'], "");
    with(
        &format!("after = [\"b\"]\n{straight}[env.x.process.b]\nafter = [«\"nobody\"»]"),
        &["no process `nobody`"],
    );
    with(
        &format!("after = [«\"b\"»]\n{chain}[env.x.process.c]\nafter = [«\"web\"»]\n"),
        &["web → b → c → web", "b → c → web → b", "c → web → b → c"],
    );
    in_process("pids = «15»", "16 to 32768");
}

#[test]
fn egress() {
    in_process("«egress» = [\"a.example\"]\ndriver = \"process\"", "cannot be enforced");
    in_process("egress = [«\"db:5432\"»]", "without `egress`");
    in_process("egress = [\"a.example\", «\"a.example:x\"»]", "not a port");
    in_process("egress = [«\"10.1.2.3/8\"»]", "did you mean `10.0.0.0/8`");
}

#[test]
fn not_yet() {
    let with = |marked: &str, says: &str| {
        let marked = format!("{HEAD}{WEB}{marked}");
        check(&marked, &[says]);
        assert_eq!(errors(&unmark(&marked).0).problem().code, Code::NotYet);
    };
    with("egress = [«\"[2001:db8::]/32:53/udp\"»]", "IPv6");
    with("[[env.prod.«endpoint»]]\nlisten = 81", "endpoints of one env alone");
    with("[[env.prod.«volume»]]\nname = \"d\"", "volumes of one env alone");
    // What is wrong beside it is said too.
    let both = "secrets = [«\"A=\"»]\n[[env.prod.«volume»]]\nname = \"d\"";
    check(&format!("{HEAD}{WEB}{both}"), &["no place in the manifest", "volumes of one env alone"]);
}

#[test]
fn placement() {
    in_process("affinity = { «requir» = { zone = \"a\" } }", "did you mean `require`?");
    in_process("affinity = { require = { «Zone» = \"a\" } }", "not a label");
    in_process("affinity = { require = { zone = «\"a b\"» } }", "not a label's value");
    in_process("affinity = { require = { zone = «[]» } }", "the list is empty");
    in_process("affinity = { prefer = { zone = «true» } }", "expected text or a list");
    in_process("affinity = { apart = [«\"wbe\"»] }", "did you mean `web`?");
    in_process("spread = [«{ over = \"zone\" }»]", "`max_skew` is missing");
    in_process("spread = [\"zone\", «{ over = \"zone\", max_skew = 1 }»]", "over `zone` already");
    in_process("tolerate = [«\"hardware/\"»]", "not a label");
    in_process("lost_after = «\"1s\"»", "5s to");
}

#[test]
fn secrets() {
    let with = |marked: &str, says: &[&str]| check(&format!("{HEAD}{WEB}{marked}"), says);
    with(
        "secrets = [«\"A=hunter2\"», { «nam» = \"B\" }]",
        &["no place in the manifest", "did you mean `name`?"],
    );
    with("secrets = [{ name = «\"a-b\"» }]", &["not a secret's name"]);
    with("secrets = [\"A\", «\"A\"»]", &["another secret is the variable `A` already"]);
    with(
        "secrets = [\"A\", { name = \"B\", env = «\"A\"» }]",
        &["another secret is the variable `A` already"],
    );
    with("env = { A = \"1\" }\nsecrets = [«\"A\"»]", &["the variable `A` is in `env` too"]);
    with("env = { A = \"1\" }\nsecrets = [{ name = «\"A\"» }]", &["the variable `A` is in `env` too"]);
    with("secrets = [{ name = \"A\", «env» = \"B\", file = \"/a\" }]", &["and this is both"]);
    with("secrets = [{ name = \"A\", file = «\"a\"» }]", &["starts with `/`"]);
    with("secrets = [{ name = \"A\", file = «\"/a/\"» }]", &["not the path of a file"]);
    with("secrets = [{ name = \"A\", file = «\"/proc/x\"» }]", &["nothing can be put into `/proc`"]);
    let two = |second: &str| {
        format!("secrets = [{{ name = \"A\", file = \"/a/b\" }}, {{ name = \"B\", file = «{second}» }}]")
    };
    with(&two("\"/a/b\""), &["the file `/a/b` already"]);
    with(&two("\"/a/b/c\""), &["the file `/a/b` already"]);
    with(&two("\"/a//./b\""), &["the file `/a/b` already"]);
    let kept = "[[volume]]\nname = \"d\"\nprocess = \"web\"\npath = \"/data/\"";
    for file in ["/data", "/data/key", "//data/./key"] {
        let inside = format!("secrets = [{{ name = \"A\", file = «\"{file}\"» }}]\n{kept}");
        with(&inside, &["where a volume is (`/data`)"]);
    }
    let over = "[env.test.process.web]\nsecrets = [{ name = \"A\", file = «\"/data/key\"» }]";
    with(&format!("{kept}\n{over}"), &["where a volume is"]);
    // An env's own variables count as much as the file's.
    let over = "secrets = [«\"A\"»]\n[env.test.process.web]\nenv = { A = \"1\" }";
    with(over, &["the variable `A` is in `env` too"]);
}

#[test]
fn volumes() {
    let volume = |name: &str, process: &str, path: &str| {
        format!("[[volume]]\nname = {name}\nprocess = {process}\npath = {path}\n")
    };
    let one = volume("\"d\"", "\"web\"", "\"/d\"");
    let with = |marked: &str, says: &[&str]| check(&format!("{HEAD}{WEB}{marked}"), says);
    with(&volume("\"d\"", "«\"job\"»", "«\"../d\"»"), &["no process `job`", "starts with `/`"]);
    with(&format!("{one}{}", volume("«\"d\"»", "\"web\"", "\"/e\"")), &["a volume `d` already"]);
    with(&format!("{one}{}", volume("\"e\"", "\"web\"", "«\"//d/\"»")), &["is here already"]);
    for bad in ["/", "//.", "/proc/x", "/dev", "/sys/fs"] {
        with(&volume("\"d\"", "\"web\"", &format!("«\"{bad}\"»")), &["cannot be here"]);
    }
    with(&format!("{one}size = «\"5\"»"), &["is not a size"]);
    with(&format!("{one}size = «\"1kB\"»"), &["out of range"]);
    with(&format!("count = «2»\n{one}"), &["has a volume, so it can have one instance at most"]);
    with(&format!("{one}[env.big.process.web]\ncount = «3»"), &["set count = 1"]);
    with(&format!("count = «2»\n{one}[env.a.process.web]\ncpu = \"1\""), &["one instance at most"]);
}

#[test]
fn envs_are_checked_whichever_is_asked_for() {
    let with = |marked: &str, says: &[&str]| check(&format!("{HEAD}{WEB}{marked}"), says);
    with("[env.test.process.«wbe»]\ncount = 1", &["did you mean `web`? an env can change processes"]);
    with("[env.test.process.web]\ncount = «5000»", &["out of range"]);
    with("[env.test.process.web]\n«cuont» = 1", &["did you mean `count`?"]);
    with("[env.«Test».process.web]\ncount = 1", &["is not a name"]);
    with("[env.test]\n«secret» = 1", &["the keys here are `process`"]);
    with("[env.test.process.web.«check»]\nhttp = \"/\"", &["`port` is missing"]);
    with("[env.test.process.web.«check»]\nevery = \"2s\"", &["the check tries nothing"]);
}

#[test]
fn a_mistake_of_the_base_is_told_once() {
    let text = "check = { http = \"/\", «tcp» = true, port = 1 }\n[env.a.process.web]\ncount = 1\n[env.b.process.web]\n";
    check(&format!("{HEAD}{WEB}{text}"), &["one more"]);
}

#[test]
fn it_reads_like_a_compiler() {
    let text =
        "schema = 1\napp = \"a\"\n[process.web]\nimage = \"a:1\"\n\tmemroy = \"64MiB\"\ncount = 5000\n";
    assert_eq!(
        errors(text).to_string(),
        "\
freehold.toml:5:2: unknown key `memroy`
  |
5 |  memroy = \"64MiB\"
  |  ^^^^^^
  = help: did you mean `memory`? the keys here are `image`, `command`, `args`, `count`, `cpu`, `memory`, `pids`, `disk`, `env`, \
`stop_timeout`, `driver`, `check`, `secrets`, `affinity`, `spread`, `tolerate`, `priority`, \
`lost_after`, `egress`, `after`

freehold.toml:6:9: `5000` is out of range: it may be 0 to 1000
  |
6 | count = 5000
  |         ^^^^

"
    );
}

#[test]
fn many_errors_are_cut_and_counted() {
    let many: String = (0..500).map(|n| format!("key{n} = 1\n")).collect();
    let errors = errors(&format!("{HEAD}{WEB}{many}"));
    assert_eq!((errors.list.len(), errors.more), (200, 300));
    assert!(errors.to_string().ends_with("\nand 450 more\n"), "{errors}");
    assert_eq!(errors.problem().title, "freehold.toml has 500 errors");
}

#[test]
fn a_hostile_file_does_not_drive_the_terminal() {
    for odd in
        ["app = \"a\\u001b[2J\"", "\"\\u001b[2J\" = 1", "app = \"\u{1b}[2J\"", "process = \"\\u009b2J\""]
    {
        let shown = errors(odd).to_string();
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
    }
}

#[test]
fn too_many_entries() {
    let words = "\"x\", ".repeat(1001);
    check(&format!("{HEAD}{WEB}«command» = [{words}]"), &["too many entries: 1001 of at most 1000"]);
    let many: String = (0..101).map(|n| format!("[env.e{n}]\n")).collect();
    check(&format!("{HEAD}{WEB}{}", many.replacen("[env", "[«env»", 1)), &["101 of at most 100"]);
}

#[test]
fn a_long_line_is_shown_where_it_matters() {
    let text = format!("{HEAD}{WEB}env = {{ A = \"{}\", B = 1 }}\n", "x".repeat(5000));
    let shown = errors(&text).to_string();
    assert!(shown.lines().all(|line| line.chars().count() <= 130), "{shown}");
    let (quote, carets) = (shown.lines().nth(2).unwrap(), shown.lines().nth(3).unwrap());
    assert_eq!(quote.chars().nth(carets.chars().count() - 1), Some('1'), "{shown}");
}
