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
    let owners = owners(&["python", "/venv/bin/gunicorn", "-k", "gevent", "paid.wsgi:app"]);
    let mut folders = Folders::default();
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
        assert_eq!(owners.decide(&proc, 9, &file, &mut folders).whose, whose, "{file}");
        assert_eq!(owners.decide(&proc, 9, &file, &mut folders).whose, whose, "{file}, known");
    }
}

#[test]
fn a_relative_file_is_in_the_working_directory() {
    let (_root, proc) = root(&["/srv/shop/shop.py"]);
    let owners = owners(&[]);
    for (file, whole) in [("shop.py", "/srv/shop/shop.py"), ("./shop.py", "/srv/shop/shop.py")] {
        assert_eq!(owners.whole(&proc, 9, file).as_deref(), Some(whole));
    }
    for file in ["moved.py", "/a.py", "<string>"] {
        assert_eq!(owners.whole(&proc, 9, file), None);
    }
}

#[test]
fn a_folder_is_where_its_links_lead() {
    const SITE: &str = "/venv/lib/python3.11/site-packages";
    let (root, proc) = root(&[
        &format!("{SITE}/flask-3.0.0.dist-info/RECORD flask/app.py,sha256=x,1"),
        &format!("{SITE}/flask/app.py"),
        "/usr/lib/python3.11/json/encoder.py",
        "/srv/shop/src/shop/views.py",
    ]);
    let link = |to: &str, at: &str| {
        std::os::unix::fs::symlink(to, root.path().join("9/root").join(at)).expect("linked");
    };
    link("/venv/lib/python3.11/site-packages", "srv/packages");
    link("lib", "usr/lib64");
    link("/srv/shop/src/shop", "venv/lib/python3.11/site-packages/shop");
    link("../../../../etc", "srv/out");
    let (owners, mut folders) = (owners(&[]), Folders::default());
    for (file, whose) in [
        ("/srv/packages/flask/app.py", Whose::Package),
        ("/usr/lib64/python3.11/json/encoder.py", Whose::Standard),
        ("/venv/lib/python3.11/site-packages/shop/views.py", Whose::Own),
        ("/srv/out/views.py", Whose::Own),
    ] {
        assert_eq!(owners.decide(&proc, 9, file, &mut folders).whose, whose, "{file}");
    }
    assert_eq!(folders.real(&proc, 9, "/srv/packages"), Some(SITE.to_owned()));
    assert_eq!(folders.real(&proc, 9, "/srv/out"), None);
}

#[test]
fn what_the_user_names_is_own_and_nothing_else() {
    const SITE: &str = "/venv/lib/python3.11/site-packages";
    let (_root, proc) = root(&[
        &format!("{SITE}/flask-3.0.0.dist-info/RECORD flask/app.py,sha256=x,1"),
        &format!("{SITE}/acme-1.0.dist-info/RECORD acme/shop/views.py,,\nacme/other/views.py,,"),
        "/srv/shop/shop/views.py",
        "/srv/shop/tools/views.py",
    ]);
    let mut folders = Folders::default();
    let mut whose = |own: &[&str], file: &str| {
        let named = own.iter().map(|text| Named::of(text)).collect();
        let owners = Owners { own: named, ..owners(&["gunicorn", "shop.wsgi:app"]) };
        let decided = owners.decide(&proc, 9, file, &mut folders);
        (decided.whose, decided.own.map(|own| own.what))
    };
    let own = |what: &str| (Whose::Own, Some(what.to_owned()));
    let acme = format!("{SITE}/acme/shop/views.py");
    assert_eq!(whose(&["acme.shop"], &acme), own("acme.shop"));
    assert_eq!(whose(&["flask", "acme"], &acme), own("acme"));
    assert_eq!(whose(&[&format!("{SITE}/acme/")], &acme), own(&format!("{SITE}/acme")));
    assert_eq!(whose(&["acme.shop"], &format!("{SITE}/acme/shopping/views.py")), (Whose::Package, None));
    assert_eq!(whose(&["acme.shop"], &format!("{SITE}/acme/other/views.py")), (Whose::Package, None));
    assert_eq!(whose(&["shop"], "/srv/shop/shop/views.py"), own("shop"));
    assert_eq!(whose(&["/srv/shop/shop"], "/srv/shop/tools/views.py"), (Whose::Package, None));
    assert_eq!(whose(&["/srv/sho"], "/srv/shop/tools/views.py"), (Whose::Package, None));
    assert_eq!(whose(&["gunicorn"], &format!("{SITE}/gunicorn/util.py")), own("gunicorn"));
}

#[test]
fn what_decided_that_code_is_own_is_said() {
    const SITE: &str = "/venv/lib/python3.11/site-packages";
    let (_root, proc) = root(&[
        &format!("{SITE}/shop-1.0.dist-info/RECORD shop/views.py,,"),
        &format!("{SITE}/shop-1.0.dist-info/direct_url.json {{\"url\":\"file:///src\",\"dir_info\":{{}}}}"),
        &format!("{SITE}/paid-1.0.dist-info/RECORD paid/views.py,,"),
    ]);
    let (owners, mut folders) = (owners(&["gunicorn", "paid.wsgi:app"]), Folders::default());
    let mut of = |file: &str| owners.decide(&proc, 9, file, &mut folders).own.map(|own| (own.what, own.by));
    let own = |what: &str, by| Some((what.to_owned(), by));
    assert_eq!(of(&format!("{SITE}/shop/views.py")), own("shop", OwnBy::Origin));
    assert_eq!(of(&format!("{SITE}/paid/views.py")), own("paid", OwnBy::CommandLine));
    assert_eq!(of("/srv/shop/deep/views.py"), own("/srv/shop", OwnBy::Unlisted));
    assert_eq!(of("/srv/tools/views.py"), own("/srv/tools", OwnBy::Unlisted));
    assert_eq!(of("/usr/lib/python3.11/json/encoder.py"), None);
}

/// Whose code frames of these files are, the innermost first, once what starts the server is marked.
fn marked(frames: &[(Whose, &str)], is_cut: bool) -> Vec<Whose> {
    let frame = |(whose, name): &(Whose, &str)| {
        let (file, function) = name.split_once(' ').unwrap_or((name, "f"));
        PythonFrame { file: file.to_owned(), function: function.to_owned(), line: 1, whose: *whose }
    };
    let mut frames: Vec<PythonFrame> = frames.iter().map(frame).collect();
    mark_launcher(&mut frames, is_cut);
    frames.iter().map(|frame| frame.whose).collect()
}

#[test]
fn what_calls_the_server_starts_it() {
    use Whose::{Launcher, Own, Server, Standard};
    let of_a_script = [
        (Own, "/srv/a.py"),
        (Server, "/p/tornado/ioloop.py"),
        (Own, "/srv/a.py main"),
        (Own, "/srv/a.py <module>"),
        (Standard, "<frozen runpy>"),
    ];
    assert_eq!(marked(&of_a_script, false), [Own, Server, Launcher, Launcher, Standard]);
    let of_a_thread = [
        (Own, "/srv/a.py"),
        (Server, "/p/waitress/task.py"),
        (Own, "/srv/a.py"),
        (Standard, "/l/threading.py"),
    ];
    assert_eq!(marked(&of_a_thread, false), [Own, Server, Launcher, Standard]);
    assert_eq!(marked(&of_a_thread, true), [Own, Server, Launcher, Standard]);
}

#[test]
fn a_server_s_package_that_a_view_uses_as_a_client_starts_nothing() {
    use Whose::{Own, Package, Server, Standard};
    let view = [(Standard, "/l/select.py"), (Server, "/p/tornado/httpclient.py"), (Own, "/srv/a.py view")];
    assert_eq!(marked(&view, false), [Standard, Package, Own], "uWSGI and mod_wsgi have no frames outside");
    let under_a_server =
        [(Server, "/p/gevent/hub.py"), (Own, "/srv/a.py view"), (Server, "/p/gunicorn/base.py")];
    assert_eq!(marked(&under_a_server, false), [Server, Own, Server]);
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
