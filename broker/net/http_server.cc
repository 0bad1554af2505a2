#include "broker/net/http_server.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <utility>

namespace millrace::net {
namespace {

namespace http = boost::beast::http;
using StringResponse = http::response<http::string_body>;

StringResponse to_response(HttpReply reply, const http::request<http::string_body>& request) {
  StringResponse response(static_cast<http::status>(reply.status), request.version());
  response.set(http::field::content_type, reply.content_type);
  if (reply.status == 405) response.set(http::field::allow, "GET, HEAD");
  response.keep_alive(request.keep_alive());
  response.content_length(reply.body.size());
  if (request.method() != http::verb::head) response.body() = std::move(reply.body);
  return response;
}

// What to answer to bytes that are no request; false when there is nobody to answer.
bool describe_bad_request(const boost::system::error_code& error, HttpReply& reply) {
  if (error.category() != http::make_error_code(http::error::bad_value).category()) return false;
  if (error == http::error::end_of_stream || error == http::error::partial_message) return false;
  reply.status = error == http::error::body_limit ? 413 : error == http::error::header_limit ? 431 : 400;
  reply.body = "not a request for this server: " + error.message() + '\n';
  return true;
}

}  // namespace

struct HttpServer::State {
  explicit State(runtime::Shard& the_shard) : shard(the_shard), tasks(the_shard) {}

  const Route* find(std::string_view path) const;
  runtime::Task<HttpReply> answer(const http::request<http::string_body>& request) const;
  runtime::Task<> serve(Socket& socket);

  runtime::Shard& shard;
  std::map<std::string, Route, std::less<>> routes;
  runtime::TaskGroup tasks;  // one per connection
};

const HttpServer::Route* HttpServer::State::find(std::string_view path) const {
  const auto exact = routes.find(path);
  if (exact != routes.end()) return &exact->second;
  for (size_t slash = path.rfind('/'); slash != std::string_view::npos;
       slash = slash == 0 ? std::string_view::npos : path.rfind('/', slash - 1)) {
    const auto prefix = routes.find(path.substr(0, slash + 1));
    if (prefix != routes.end()) return &prefix->second;
  }
  return nullptr;
}

runtime::Task<HttpReply> HttpServer::State::answer(const http::request<http::string_body>& request) const {
  HttpReply failure;
  const std::string_view target(request.target().data(), request.target().size());
  const size_t question = target.find('?');
  HttpRequest plain;
  plain.path = target.substr(0, question);
  if (question != std::string_view::npos) plain.query = target.substr(question + 1);
  const Route* const route = find(plain.path);
  if (route == nullptr) {
    failure.status = 404;
    failure.body = "nothing here; there is:";
    for (const auto& [path, unused] : routes) failure.body += ' ' + path;
    failure.body += '\n';
    co_return failure;
  }
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    failure.status = 405;
    failure.body = "only GET and HEAD\n";
    co_return failure;
  }
  try {
    co_return co_await (*route)(plain);
  } catch (const std::exception& error) {
    failure.status = 500;
    failure.body = std::string(error.what()) + '\n';
  }
  co_return failure;
}

namespace {

// Closes the socket when the deadline comes: whatever is under way on it then fails.
class ClosingTimer final : public runtime::Timer {
 public:
  ClosingTimer(runtime::Shard& shard, Socket& socket) : shard_(shard), socket_(socket) {}
  void restart(int64_t delay_ms) { shard_.timers().arm(*this, shard_.clock().deadline_in_ms(delay_ms)); }

 private:
  void expired() override {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }
  runtime::Shard& shard_;
  Socket& socket_;
};

}  // namespace

runtime::Task<> HttpServer::State::serve(Socket& socket) {
  boost::beast::flat_buffer buffer(kMaxHeaderBytes + kMaxBodyBytes);
  ClosingTimer timer(shard, socket);
  for (bool keep_alive = true; keep_alive;) {
    timer.restart(kRequestTimeoutMs);
    http::request_parser<http::string_body> parser;
    parser.header_limit(kMaxHeaderBytes);
    parser.body_limit(kMaxBodyBytes);
    boost::system::error_code error;
    co_await http::async_read(socket, buffer, parser, asio::redirect_error(runtime::kUseTask, error));
    HttpReply reply;
    if (!error) {
      reply = co_await answer(parser.get());
    } else if (!describe_bad_request(error, reply)) {
      co_return;
    }
    StringResponse response = to_response(std::move(reply), parser.get());
    if (error) response.keep_alive(false);
    keep_alive = response.keep_alive();
    http::response_serializer<http::string_body> serializer(response);
    if (parser.get().method() == http::verb::head) serializer.split(true);
    timer.restart(kRequestTimeoutMs);
    co_await http::async_write(socket, serializer, asio::redirect_error(runtime::kUseTask, error));
    if (error) co_return;
  }
  boost::system::error_code ignored;
  socket.shutdown(Socket::shutdown_send, ignored);
}

Result<std::unique_ptr<HttpServer>> HttpServer::open(const ListenAddress& address, runtime::Shard& shard) {
  Result<std::unique_ptr<Listener>> listener = Listener::open(address, shard);
  if (!listener) return std::unexpected(listener.error());
  return std::unique_ptr<HttpServer>(new HttpServer(shard, std::move(*listener)));
}

HttpServer::HttpServer(runtime::Shard& shard, std::unique_ptr<Listener> listener)
    : shard_(shard), listener_(std::move(listener)), state_(std::make_shared<State>(shard)) {}

HttpServer::~HttpServer() {
  if (!shard_.stopped()) stop();
}

void HttpServer::add_route(const std::string& path, Route route) { state_->routes[path] = std::move(route); }

void HttpServer::add_metrics(const std::string& path, const runtime::MetricsRegistry& metrics) {
  add_route(path, [&metrics](const HttpRequest&) -> runtime::Task<HttpReply> {
    HttpReply reply;
    reply.body = co_await metrics.scrape();
    reply.content_type = runtime::MetricsWriter::kContentType;
    co_return reply;
  });
}

void HttpServer::add_check(const std::string& path, std::function<std::string()> is_ok) {
  add_route(path, [is_ok = std::move(is_ok)](const HttpRequest&) -> runtime::Task<HttpReply> {
    const std::string problem = is_ok();
    HttpReply reply;
    reply.status = problem.empty() ? 200 : 503;
    reply.body = (problem.empty() ? "ok" : problem) + '\n';
    co_return reply;
  });
}

void HttpServer::start() {
  listener_->start([state = std::weak_ptr(state_)](OwnedFd fd) {
    const std::shared_ptr<State> live = state.lock();
    if (live == nullptr || live->tasks.size() >= kMaxConnections) return;
    auto socket = std::make_shared<Socket>(live->shard.executor());
    boost::system::error_code error;
    socket->assign(asio::ip::tcp::v4(), fd.get(), error);
    if (error) return;
    fd.release();
    live->tasks.spawn([live, socket] { return live->serve(*socket); });
  });
}

void HttpServer::stop() {
  listener_->stop();
  if (state_ == nullptr) return;
  auto end = [state = std::exchange(state_, nullptr)]() -> runtime::Task<> {
    state->tasks.cancel();
    co_await state->tasks.wait();
  };
  shard_.run(std::move(end));
}

}  // namespace millrace::net
