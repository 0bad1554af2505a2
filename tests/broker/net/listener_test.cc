#include "broker/net/listener.h"

#include <sys/wait.h>

#include "broker/net/port_owner.h"
#include "tests/broker/net/loopback.h"

using namespace millrace;
using namespace millrace::net;
using namespace millrace::net::testing;

namespace {

ListenAddress on_loopback(uint16_t port = 0) {
  ListenAddress address;
  address.host = "127.0.0.1";
  address.port = port;
  address.port_hint = "another with --port N";
  return address;
}

}  // namespace

TEST_CASE("a port in use names its owner and the way out", "[listener]") {
  const Result<OwnedFd> first = listen_on(on_loopback());
  REQUIRE(first);
  const uint16_t port = bound_port(first->get());
  CHECK(port != 0);
  const Result<OwnedFd> second = listen_on(on_loopback(port));
  REQUIRE_FALSE(second);
  const std::string& message = second.error().message;
  CHECK_THAT(message, Catch::Contains("127.0.0.1:" + std::to_string(port)));
  CHECK_THAT(message, Catch::Contains("pid " + std::to_string(::getpid())));
  CHECK_THAT(message, Catch::Contains("broker_net_test"));
  CHECK_THAT(message, Catch::Contains("--port N"));
}

TEST_CASE("the owner of an IPv6 port is found too, and nobody for a free one", "[listener]") {
  ListenAddress address;
  address.host = "::1";
  Result<OwnedFd> listening = listen_on(address);
  if (!listening) return;  // a machine without IPv6
  const uint16_t port = bound_port(listening->get());
  const auto owner = find_port_owner(port);
  REQUIRE(owner);
  CHECK(owner->pid == ::getpid());
  *listening = OwnedFd();
}

TEST_CASE("an address that isn't ours is refused with the reason", "[listener]") {
  ListenAddress address;
  address.host = "203.0.113.1";
  Result<OwnedFd> refused = listen_on(address);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message, Catch::Contains("203.0.113.1"));
  address.host = "no.such.host.invalid";
  refused = listen_on(address);
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().message, Catch::Contains("no.such.host.invalid"));
}

TEST_CASE("the empty host takes IPv4 clients, and reports their address as IPv4", "[listener]") {
  runtime::ShardGroup shards(1, runtime::SystemClock::instance(), 1);
  runtime::MetricsRegistry metrics;
  std::string host;
  FunctionHandler handler([&](Request& request) -> runtime::Task<Response> {
    host = request.connection->client_host;
    co_return echo(request);
  });
  ConnectionGroup group(shards, handler, {}, metrics);
  auto listener = std::move(*Listener::open(ListenAddress(), shards[0]));
  listener->start([&](OwnedFd fd) { group.adopt(std::move(fd), "PLAINTEXT", listener->port()); });
  Client client(listener->port());
  REQUIRE(client.send(request_bytes(3, 1)));
  CHECK(client.receive_response());
  listener->stop();
  group.stop(0);
  shards.stop();
  CHECK(host == "127.0.0.1");
}

TEST_CASE("connections go to all shards in turn", "[listener]") {
  std::atomic<int> on_shard[3] = {};
  Network network(
      [&](Request& request) -> runtime::Task<Response> {
        ++on_shard[runtime::Shard::current()->id()];
        co_return echo(request);
      },
      {}, 3);
  for (int i = 0; i < 9; ++i) {
    Client client(network.port());
    REQUIRE(client.send(request_bytes(3, 1)));
    REQUIRE(client.receive_response());
  }
  for (const auto& count : on_shard) CHECK(count == 3);
}
