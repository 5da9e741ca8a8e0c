//! The templates of `freehold init`: the files in `stacks/`, and what must be known of each.

/// A file: its path below the app's folder, and its text.
pub(super) type File = (&'static str, &'static str);

/// One template.
#[derive(Debug)]
pub(super) struct Stack {
    /// As `--template` names it.
    pub(super) name: &'static str,
    /// One line for people.
    pub(super) about: &'static str,
    /// How it is deployed: always written.
    pub(super) config: &'static [File],
    /// A first program: written where the folder has none.
    pub(super) program: &'static [File],
    /// The images that it starts from: a short name, and the reference that its files have.
    pub(super) images: &'static [(&'static str, &'static str)],
    /// The secrets that must be set before it runs.
    pub(super) secrets: &'static [&'static str],
}

impl Stack {
    /// The port on the node in its manifest.
    pub(super) fn port(&self) -> Option<u16> {
        let line = self.config[0].1.lines().find_map(|line| line.strip_prefix("listen = "));
        line.and_then(|port| port.trim().parse().ok())
    }
}

macro_rules! file {
    ($stack:literal, $path:literal) => {
        ($path, include_str!(concat!("../../../../../stacks/", $stack, "/", $path)))
    };
}

const NGINX: (&str, &str) = ("nginx", "docker.io/library/nginx:1-alpine");
const NODE: (&str, &str) = ("node", "docker.io/library/node:22-slim");
const PYTHON: (&str, &str) = ("python", "docker.io/library/python:3.13-slim");
const POSTGRES: (&str, &str) = ("postgres", "docker.io/library/postgres:17");
const REDIS: (&str, &str) = ("redis", "docker.io/library/redis:8");

/// The app's name in every template.
pub(super) const APP: &str = "hello";

/// Every template.
pub(super) const STACKS: &[Stack] = &[
    Stack {
        name: "static",
        about: "a static site: files handed out by a web server",
        config: &[file!("static", "freehold.toml"), file!("static", "freehold-image.toml")],
        program: &[file!("static", "index.html")],
        images: &[NGINX],
        secrets: &[],
    },
    Stack {
        name: "rust",
        about: "a Rust service: one static program",
        config: &[file!("rust", "freehold.toml"), file!("rust", "freehold-image.toml")],
        program: &[file!("rust", "Cargo.toml"), file!("rust", "src/main.rs")],
        images: &[],
        secrets: &[],
    },
    Stack {
        name: "node",
        about: "a Node service",
        config: &[file!("node", "freehold.toml"), file!("node", "freehold-image.toml")],
        program: &[file!("node", "package.json"), file!("node", "server.js")],
        images: &[NODE],
        secrets: &[],
    },
    Stack {
        name: "python",
        about: "a Python service",
        config: &[file!("python", "freehold.toml"), file!("python", "freehold-image.toml")],
        program: &[file!("python", "main.py")],
        images: &[PYTHON],
        secrets: &[],
    },
    Stack {
        name: "go",
        about: "a Go service: one static program",
        config: &[file!("go", "freehold.toml"), file!("go", "freehold-image.toml")],
        program: &[file!("go", "go.mod"), file!("go", "main.go")],
        images: &[],
        secrets: &[],
    },
    Stack {
        name: "postgres",
        about: "PostgreSQL, with its data on a volume",
        config: &[file!("postgres", "freehold.toml")],
        program: &[],
        images: &[POSTGRES],
        secrets: &["POSTGRES_PASSWORD"],
    },
    Stack {
        name: "redis",
        about: "Redis, with its data on a volume",
        config: &[file!("redis", "freehold.toml")],
        program: &[],
        images: &[REDIS],
        secrets: &["REDIS_PASSWORD"],
    },
    Stack {
        name: "worker",
        about: "a web server and workers, with a queue between them",
        config: &[file!("worker", "freehold.toml"), file!("worker", "freehold-image.toml")],
        program: &[
            file!("worker", "requirements.txt"),
            file!("worker", "web.py"),
            file!("worker", "worker.py"),
        ],
        images: &[PYTHON, REDIS],
        secrets: &[],
    },
];

/// The template called so.
pub(super) fn named(name: &str) -> Option<&'static Stack> {
    STACKS.iter().find(|stack| stack.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_of_a_template_stands_in_its_files() {
        for stack in STACKS {
            for (_, reference) in stack.images {
                assert!(
                    stack.config.iter().any(|(_, text)| text.contains(reference)),
                    "{}: {reference}",
                    stack.name
                );
            }
        }
    }

    #[test]
    fn every_template_is_reached_somewhere() {
        assert!(STACKS.iter().all(|stack| stack.port().is_some()));
    }

    #[test]
    fn every_secret_of_a_template_stands_in_its_manifest() {
        for stack in STACKS {
            assert!(stack.secrets.iter().all(|name| stack.config[0].1.contains(name)), "{}", stack.name);
        }
    }
}
