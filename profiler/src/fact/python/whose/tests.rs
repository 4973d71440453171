//! Ways in which applications are installed, each as a tree of files.
//!
//! In: trees in a directory that stands for a process's root. Out: assertions.

use std::path::Path;

use super::*;

/// A root with these files; a line's text is the path and, behind a space, what is in it.
fn root(files: &[&str]) -> (tempfile::TempDir, Proc) {
    let directory = tempfile::tempdir().expect("a directory");
    for line in files {
        let (path, text) = line.split_once(' ').unwrap_or((line, ""));
        let path = directory.path().join("9/root").join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let proc = Proc::at(directory.path());
    (directory, proc)
}

fn owners(command_line: &[&str]) -> Owners {
    let command_line = command_line.iter().map(|one| (*one).to_owned()).collect();
    let identity = Identity { command_line, ..Identity::default() };
    Owners {
        standard: Some("/usr/lib/python3.11".to_owned()),
        working_directory: "/srv/shop".to_owned(),
        named: named(&identity),
        ..Owners::default()
    }
}

#[test]
fn own_code_is_what_no_index_of_packages_gave() {
    const SITE: &str = "/venv/lib/python3.11/site-packages";
    let (_root, proc) = root(&[
        &format!("{SITE}/flask-3.0.0.dist-info/RECORD flask/app.py,sha256=x,1"),
        &format!("{SITE}/gunicorn-23.0.dist-info/RECORD gunicorn/util.py,sha256=x,1"),
        &format!("{SITE}/PyYAML-6.0.dist-info/RECORD yaml/__init__.py,,\n_yaml.py,,"),
        &format!("{SITE}/shop-1.0.dist-info/RECORD shop/views.py,,"),
        &format!("{SITE}/shop-1.0.dist-info/direct_url.json {{\"url\":\"file:///src\",\"dir_info\":{{}}}}"),
        &format!("{SITE}/paid-1.0.dist-info/RECORD paid/views.py,,"),
        "/srv/vendor/requests-2.0.dist-info/RECORD requests/api.py,,",
    ]);
    let mut owners = owners(&["python", "/venv/bin/gunicorn", "-k", "gevent", "paid.wsgi:app"]);
    for (file, whose) in [
        (format!("{SITE}/flask/app.py"), Whose::Package),
        (format!("{SITE}/gunicorn/util.py"), Whose::Server),
        (format!("{SITE}/yaml/loader.py"), Whose::Package),
        (format!("{SITE}/_yaml.py"), Whose::Package),
        (format!("{SITE}/shop/views.py"), Whose::Own),
        (format!("{SITE}/paid/views.py"), Whose::Own),
        (format!("{SITE}/copied/views.py"), Whose::Package),
        ("/srv/vendor/requests/api.py".to_owned(), Whose::Package),
        ("/srv/vendor/mine.py".to_owned(), Whose::Own),
        ("/srv/shop/views.py".to_owned(), Whose::Own),
        ("/srv/lib/python3/app.py".to_owned(), Whose::Own),
        ("/usr/lib/python3.11/json/encoder.py".to_owned(), Whose::Standard),
        ("/usr/lib/python3/dist-packages/django/db.py".to_owned(), Whose::Package),
        ("/usr/lib/python3/dist-packages/waitress/task.py".to_owned(), Whose::Server),
        ("<frozen importlib._bootstrap>".to_owned(), Whose::Standard),
        ("__init__".to_owned(), Whose::Standard),
        ("moved.py".to_owned(), Whose::Own),
        ("/venv/bin/gunicorn".to_owned(), Whose::Launcher),
        ("/srv/shop/manage.py".to_owned(), Whose::Launcher),
    ] {
        assert_eq!(owners.of_file(&proc, 9, &file), whose, "{file}");
        assert_eq!(owners.of_file(&proc, 9, &file), whose, "{file}, known");
    }
}

#[test]
fn a_relative_file_is_in_the_working_directory() {
    let (_root, proc) = root(&["/srv/shop/shop.py"]);
    let owners = owners(&[]);
    for (file, whole) in [
        ("shop.py", "/srv/shop/shop.py"),
        ("./shop.py", "/srv/shop/shop.py"),
        ("moved.py", "moved.py"),
        ("/a.py", "/a.py"),
        ("<string>", "<string>"),
    ] {
        assert_eq!(owners.whole(&proc, 9, file.to_owned()), whole);
    }
}

#[test]
fn what_calls_the_server_starts_it() {
    use Whose::{Launcher, Own, Server, Standard};
    let frame = |whose| PythonFrame { file: String::new(), function: String::new(), line: 1, whose };
    let mut frames: Vec<PythonFrame> = [Own, Server, Own, Server, Own, Standard].map(frame).into();
    mark_launcher(&mut frames);
    let whose: Vec<Whose> = frames.iter().map(|frame| frame.whose).collect();

    assert_eq!(whose, [Own, Server, Own, Server, Launcher, Standard]);
}

#[test]
fn modules_are_named_by_an_application_s_own_way_to_write_them() {
    let of = |line: &[&str]| owners(&[&["x"], line].concat()).named;
    assert_eq!(of(&["gunicorn", "-k", "uvicorn.workers.UvicornWorker", "shop.wsgi:app"]), ["shop"]);
    assert_eq!(of(&["--module=shop.wsgi:application"]), ["shop"]);
    assert_eq!(of(&["gunicorn", "-b", "127.0.0.1:8000", "shop.wsgi"]), ["shop"]);
    assert!(of(&["-b", "127.0.0.1:8000"]).is_empty());
    assert!(of(&["app.py"]).is_empty());
}
