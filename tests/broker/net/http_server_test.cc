#include "broker/net/http_server.h"

#include "tests/broker/net/loopback.h"

using namespace millrace;
using namespace millrace::net;
using namespace millrace::net::testing;

namespace {

struct Http {
  Http() : shards(1, runtime::SystemClock::instance(), 1) {
    ListenAddress address;
    address.host = "127.0.0.1";
    server = std::move(*HttpServer::open(address, shards[0]));
    server->add_metrics("/metrics", metrics);
    server->add_check("/livez", [] { return std::string(); });
    server->add_check("/readyz", [this] { return problem; });
    server->add_route("/topics/", [](const HttpRequest& request) -> runtime::Task<HttpReply> {
      HttpReply reply;
      reply.body = request.path + '|' + request.query;
      co_return reply;
    });
    server->add_route("/broken", [](const HttpRequest&) -> runtime::Task<HttpReply> {
      throw std::runtime_error("it is broken");
      co_return HttpReply();
    });
    server->start();
  }
  ~Http() {
    server->stop();
    shards.stop();
  }
  // Sends and reads until the server closes.
  std::string ask(const std::string& request) {
    Client client(server->port());
    client.send(request);
    client.half_close();
    return client.receive(1 << 20);
  }
  std::string get(const std::string& path) {
    return ask("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  }

  runtime::ShardGroup shards;
  runtime::MetricsRegistry metrics;
  std::string problem;
  std::unique_ptr<HttpServer> server;
};

}  // namespace

TEST_CASE("routes answer", "[http]") {
  Http http;
  http.metrics.counter("things_total", "Things").add(3);
  const std::string metrics = http.get("/metrics");
  CHECK_THAT(metrics, Catch::StartsWith("HTTP/1.1 200 OK"));
  CHECK_THAT(metrics, Catch::Contains("text/plain; version=0.0.4"));
  CHECK_THAT(metrics, Catch::EndsWith("things_total 3\n"));
  CHECK_THAT(http.get("/livez"), Catch::EndsWith("\r\n\r\nok\n"));
  CHECK_THAT(http.get("/readyz"), Catch::StartsWith("HTTP/1.1 200"));
  http.problem = "recovering 3 logs";
  CHECK_THAT(http.get("/readyz"),
             Catch::StartsWith("HTTP/1.1 503") && Catch::EndsWith("recovering 3 logs\n"));
  CHECK_THAT(http.get("/topics/a/b?c=d"), Catch::EndsWith("/topics/a/b|c=d"));
  CHECK_THAT(http.get("/broken"), Catch::StartsWith("HTTP/1.1 500") && Catch::Contains("it is broken"));
}

TEST_CASE("what there isn't and what isn't allowed is said so", "[http]") {
  Http http;
  CHECK_THAT(http.get("/nothing"), Catch::StartsWith("HTTP/1.1 404") && Catch::Contains("/metrics"));
  CHECK_THAT(http.get("/topics"), Catch::StartsWith("HTTP/1.1 404"));
  CHECK_THAT(http.ask("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"),
             Catch::StartsWith("HTTP/1.1 405") && Catch::Contains("Allow: GET, HEAD"));
  const std::string head = http.ask("HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  CHECK_THAT(head, Catch::StartsWith("HTTP/1.1 200") && Catch::Contains("Content-Length: 3") &&
                       Catch::EndsWith("\r\n\r\n"));
}

TEST_CASE("a connection serves several requests", "[http]") {
  Http http;
  const std::string both =
      http.ask("GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /topics/t HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK_THAT(both, Catch::Contains("ok\n") && Catch::EndsWith("/topics/t|"));
}

TEST_CASE("bytes that are no request are refused", "[http]") {
  Http http;
  CHECK_THAT(http.ask("nonsense\r\n\r\n"), Catch::StartsWith("HTTP/1.1 400"));
  CHECK_THAT(http.ask("GET / HTTP/1.1\r\nX: " + std::string(17 << 10, 'x') + "\r\n\r\n"),
             Catch::StartsWith("HTTP/1.1 431"));
  CHECK_THAT(http.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"),
             Catch::StartsWith("HTTP/1.1 413"));
  CHECK(http.ask("").empty());
  CHECK(http.ask("GET /livez HT").empty());
  CHECK_THAT(http.get("/livez"), Catch::StartsWith("HTTP/1.1 200"));
}

TEST_CASE("stopping closes connections that wait", "[http]") {
  auto http = std::make_unique<Http>();
  Client waiting(http->server->port());
  waiting.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(waiting.receive(12) == "HTTP/1.1 200");
  http.reset();
  while (!waiting.receive(1).empty()) {
  }
  SUCCEED();
}
