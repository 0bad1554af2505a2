// One of the two brokers: a blocking connection to it, and what it alone knows (ids that it chose).
#pragma once

#include <map>
#include <optional>
#include <string>

#include "protocol/api.h"
#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/uuid.h"

namespace millrace::differential {

class Peer {
 public:
  // `address` is HOST:PORT. Throws std::runtime_error when nobody answers there.
  Peer(std::string name, const std::string& address);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // Sends a request and waits for its answer: the body, without its header. Errors: kNetworkException when
  // the broker closed the connection (the next request opens another), kRequestTimedOut after kTimeout_s.
  Result<Buffer> ask(protocol::ApiKey api, int16_t version, Bytes body);
  // Sends a request that has no answer.
  Result<> tell(protocol::ApiKey api, int16_t version, Bytes body);

  const std::string& name() const { return name_; }
  int port() const { return port_; }

  // The id that this broker gave a topic; `unknown` for one it doesn't know. Learned from its answers.
  Uuid topic_id(const std::string& topic) const;
  void learn_topic(const std::string& topic, const Uuid& id);
  // The topic that had this id, if any.
  std::optional<std::string> topic_of(const std::string& id) const;

  // Other things it chose: fetch sessions, producer ids.
  std::map<std::string, int64_t> chosen;

 private:
  static constexpr int kTimeout_s = 10;

  Result<> connect();
  void close();
  Result<> send(protocol::ApiKey api, int16_t version, Bytes body);
  Result<> receive(MutableBytes into);

  std::string name_;
  std::string host_;
  int port_ = 0;
  int socket_ = -1;
  int32_t correlation_id_ = 0;
  std::map<std::string, Uuid> ids_;
  std::map<std::string, std::string> topics_by_id_;
};

}  // namespace millrace::differential
