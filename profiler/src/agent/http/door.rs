//! Who is let in.
//!
//! In: requests. Out: refusals, or the answers of whoever is behind it.

use std::future::Future;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};

use super::answer::{Answers, Reply, say};
use crate::agent::listen::Access;

/// What answers those who were let in.
pub trait Behind: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: &Request<Incoming>) -> impl Future<Output = Reply> + Send;
}

impl Behind for Answers {
    async fn answer(&self, request: &Request<Incoming>) -> Reply {
        self.answer_at(request, request.uri().path()).await
    }
}

/// The way in.
pub struct Door<B> {
    access: Access,
    behind: B,
}

impl<B: Behind> Door<B> {
    /// A door for those who have access.
    pub const fn new(access: Access, behind: B) -> Self {
        Self { access, behind }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: &Request<Incoming>) -> Reply {
        let headers = request.headers();
        let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        // A Host header that is no text names nobody.
        let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
        if let Err((status, sentence)) = self.access.check(authorization, host) {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
            let mut reply = say(status, sentence);
            if status == StatusCode::UNAUTHORIZED {
                reply.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            return reply;
        }
        self.behind.answer(request).await
    }
}
