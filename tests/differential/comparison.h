// Asks two brokers the same and holds their answers against each other, field by field.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "protocol/arena.h"
#include "protocol/codec.h"
#include "tests/differential/expectations.h"
#include "tests/differential/json_value.h"
#include "tests/differential/peer.h"
#include "tests/differential/record_fields.h"
#include "tests/differential/response_of.h"

namespace millrace::differential {

// What a request is made with: it may name what the broker chose, and lives in the arena.
struct Call {
  Peer& peer;
  Arena& arena;
  int16_t version;
};

class Comparison {
 public:
  // Prints each difference that isn't expected to `details`.
  Comparison(Peer& kafka, Peer& millrace, Expectations& expectations, std::FILE* details);

  // Learns from ApiVersions what both serve.
  void learn_versions();
  // Calls `ask` for each version of the API that both brokers serve and the schema describes.
  template <class Request>
  void in_versions(const std::function<void(int16_t)>& ask);

  // Sends what `build(Call&)` makes to both and compares. A request that only reads is sent again for a while
  // as long as the answers differ: Apache Kafka's brokers learn of changes a moment after they are
  // acknowledged. `note(Peer&, const Response&)` keeps what later requests need.
  template <class Build>
  void ask(const std::string& step, int16_t version, const Build& build) {
    ask(step, version, build, [](Peer&, const auto&) {});
  }
  template <class Build, class Note>
  void ask(const std::string& step, int16_t version, const Build& build, const Note& note);

  // Sends to both what is not compared.
  template <class Build, class Note>
  void ask_each(int16_t version, const Build& build, const Note& note);
  // Until `done(Peer&)` for both, or the time is up.
  void wait_until(const std::function<bool(Peer&)>& done);

  // How fetched batches are compared from here on.
  void set_batches(BatchComparison how) { batches_ = how; }

  struct Totals {
    size_t requests = 0, fields = 0, expected = 0, unexpected = 0, failed_requests = 0;
  };
  const Totals& totals() const { return totals_; }

 private:
  using Exchange = std::function<Json(Peer&)>;

  template <class Build, class Note>
  Json exchange(Peer& peer, int16_t version, const Build& build, const Note& note);
  void compare(const std::string& step, bool reads, bool ordered, const Exchange& exchange);
  bool serve_both(protocol::ApiKey api, int16_t version) const;

  Peer& kafka_;
  Peer& millrace_;
  Expectations& expectations_;
  std::FILE* details_;
  std::map<int16_t, std::pair<int16_t, int16_t>> versions_;
  BatchComparison batches_ = BatchComparison::kBytes;
  Totals totals_;
};

// Puts a word in place of each value that a broker chooses by itself: ids, ports, times of its clock,
// directories.
void normalise(Peer& peer, Json& json);

template <class Request>
void Comparison::in_versions(const std::function<void(int16_t)>& ask) {
  for (int16_t version = Request::kMinVersion; version <= Request::kMaxVersion; ++version) {
    if (serve_both(Request::kApi, version)) ask(version);
  }
}

template <class Request>
bool has_answer(const Request& request) {
  if constexpr (std::is_same_v<Request, protocol::ProduceRequest>) return request.acks != 0;
  return true;
}

template <class Build, class Note>
Json Comparison::exchange(Peer& peer, int16_t version, const Build& build, const Note& note) {
  using Request = std::invoke_result_t<Build, Call&>;
  using Response = typename ResponseOf<Request>::Type;
  Arena arena;
  Call call{peer, arena, version};
  const Request request = build(call);
  protocol::Writer writer;
  const auto word = [](const char* name, const std::string& text) {
    Json json = Json::object();
    json.add(name, Json::text(text));
    return json;
  };
  if (Result<> written = encode(request, version, writer); !written) {
    throw std::runtime_error("a request that can't be encoded: " + written.error().message);
  }
  if (!has_answer(request)) {
    const Result<> told = peer.tell(Request::kApi, version, writer.written());
    return word("connection", told ? "open" : told.error().message);
  }
  const Result<Buffer> body = peer.ask(Request::kApi, version, writer.written());
  if (!body) return word("connection", body.error().message);
  const Result<Response> response = protocol::decode<Response>(*body, version, arena);
  if (!response) return word("undecodable", response.error().message);
  note(peer, *response);
  Json json = parse_json(to_json(*response, version));
  if constexpr (std::is_same_v<Response, protocol::FetchResponse>) add_batches(*response, batches_, json);
  return json;
}

template <class Build, class Note>
void Comparison::ask(const std::string& step, int16_t version, const Build& build, const Note& note) {
  using Request = std::invoke_result_t<Build, Call&>;
  const std::string name =
      std::string(protocol::api_name(Request::kApi)) + "/" + step + " v" + std::to_string(version);
  constexpr bool kOrdered = std::is_same_v<Request, protocol::FetchRequest>;
  compare(name, ResponseOf<Request>::kReads, kOrdered,
          [&](Peer& peer) { return exchange(peer, version, build, note); });
}

template <class Build, class Note>
void Comparison::ask_each(int16_t version, const Build& build, const Note& note) {
  for (Peer* peer : {&kafka_, &millrace_}) exchange(*peer, version, build, note);
}

}  // namespace millrace::differential
