// A small HTTP server for what operators ask: /metrics, /livez, /readyz. GET and HEAD; answers from a table
// of routes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "broker/net/listener.h"
#include "broker/runtime/metrics.h"
#include "broker/runtime/shard.h"

namespace millrace::net {

struct HttpRequest {
  std::string path;   // without the query
  std::string query;  // behind the '?', as it came
};

struct HttpReply {
  int status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
};

class HttpServer {
 public:
  // Runs on the server's shard.
  using Route = std::function<runtime::Task<HttpReply>(const HttpRequest&)>;

  static constexpr size_t kMaxHeaderBytes = 16 << 10;
  static constexpr size_t kMaxBodyBytes = 4 << 10;  // of a request: nobody needs one
  static constexpr size_t kMaxConnections = 64;
  static constexpr int64_t kRequestTimeoutMs = 10'000;  // for a whole request, and between two

  // Binds at once; serves from start() on. Fails as listen_on does.
  static Result<std::unique_ptr<HttpServer>> open(const ListenAddress& address, runtime::Shard& shard);
  ~HttpServer();

  // Before start(). An exact path wins over a prefix (a path that ends in '/'), a longer prefix over a
  // shorter one.
  void add_route(const std::string& path, Route route);
  // GET path answers with the registry's text. The registry must outlive the server.
  void add_metrics(const std::string& path, const runtime::MetricsRegistry& metrics);
  // 200 "ok" while `is_ok` returns an empty text, else 503 with that text. Called on the server's shard.
  void add_check(const std::string& path, std::function<std::string()> is_ok);

  uint16_t port() const { return listener_->port(); }
  void start();
  // Stops accepting and closes all connections. As Listener::stop.
  void stop();

 private:
  struct State;
  explicit HttpServer(runtime::Shard& shard, std::unique_ptr<Listener> listener);

  runtime::Shard& shard_;
  std::unique_ptr<Listener> listener_;
  std::shared_ptr<State> state_;
};

}  // namespace millrace::net
