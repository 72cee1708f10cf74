#include "engine/open_plan_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "engine/backend_impl.h"
#include "engine/plan_set_command.h"

namespace ferry {
namespace {

bool in_profiles(const std::vector<BatchProfile>& profiles, std::int64_t batch) {
  return std::any_of(profiles.begin(), profiles.end(),
                     [&](const BatchProfile& p) { return p.min <= batch && batch <= p.max; });
}

// Several engines as one.
struct RoutedEngine final : Engine::Impl {
  std::shared_ptr<Session::Impl> new_session(const std::shared_ptr<Impl>& self) override;
  std::optional<Telemetry> telemetry() const override { return members.front()->telemetry(); }
  std::size_t member_for(std::int64_t batch) const {
    for (std::size_t i = 0; i < info.parts.size(); ++i)
      if (in_profiles(info.parts[i].profiles, batch)) return i;
    throw Error(Stage::kRun, info.backend_display_name, fmt::format("no plan of the set takes a batch of {}", batch));
  }

  std::vector<std::shared_ptr<Impl>> members;  // as `info.parts`
};

// A session of a member is opened when a request first goes to it: it holds memory on the device.
class RoutedSession final : public Session::Impl {
 public:
  RoutedSession(std::shared_ptr<Engine::Impl> of, const RoutedEngine& routed)
      : Impl(std::move(of)), routed_(routed), sessions_(routed.members.size()) {}

  void staging(std::int64_t batch, void** inputs, void** outputs) override {
    session_for(batch).staging(batch, inputs, outputs);
  }
  void submit(const ferry_run_args& args) override {
    require_idle();
    Session::Impl& session = session_for(args.batch);
    session.submit(args);
    busy_ = &session;
  }
  void wait(ferry_times* times) override {
    if (busy_ == nullptr)
      throw Error(Stage::kRun, engine->info.backend_display_name, "wait was called without a request in flight",
                  "call submit first");
    std::exchange(busy_, nullptr)->wait(times);
  }
  std::optional<LayerProfile> profile(std::int64_t batch, int runs) override {
    require_idle();
    return session_for(batch).profile(batch, runs);
  }

  // How many pictures will come is not known yet: the memory is that of the member for the largest batches, where
  // copying them to another would cost most.
  void* image_staging(std::uint64_t size) override {
    require_idle();
    const std::size_t member = routed_.member_for(*engine->info.max_batch);
    pictures_ = static_cast<std::byte*>(open(member).image_staging(size));
    pictures_owner_ = member;
    return pictures_;
  }
  void submit_images(const ferry_images_args& args) override {
    require_idle();
    const std::size_t member = routed_.member_for(args.batch);
    if (pictures_ != nullptr && member != pictures_owner_)
      std::memcpy(open(member).image_staging(args.used), pictures_, args.used);
    open(member).submit_images(args);
    busy_ = &open(member);
  }

 private:
  void require_idle() const {
    if (busy_ != nullptr)
      throw Error(Stage::kRun, engine->info.backend_display_name, "a request is already in flight in this session",
                  "call wait first, or open another session");
  }
  Session::Impl& open(std::size_t member) {
    std::shared_ptr<Session::Impl>& session = sessions_[member];
    if (!session) session = routed_.members[member]->new_session(routed_.members[member]);
    return *session;
  }
  Session::Impl& session_for(std::int64_t batch) { return open(routed_.member_for(batch)); }

  const RoutedEngine& routed_;  // the same as `engine`
  std::vector<std::shared_ptr<Session::Impl>> sessions_;
  Session::Impl* busy_ = nullptr;
  std::byte* pictures_ = nullptr;
  std::size_t pictures_owner_ = 0;
};

std::shared_ptr<Session::Impl> RoutedEngine::new_session(const std::shared_ptr<Impl>& self) {
  return std::make_shared<RoutedSession>(self, *this);
}

[[noreturn]] void refuse_set(const PlanSet& set, const std::string& path, const std::string& cause) {
  throw Error(Stage::kOpen, path, cause, "Build the set again: " + rebuild_command(set, path));
}

// What one image needs. How an engine writes its batch (dynamic, or the only one it was built for) is its own affair:
// `profiles` say which batches it takes.
bool same_ports(const std::vector<Port>& a, const std::vector<Port>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Port& x, const Port& y) {
    return x.name == y.name && x.dtype == y.dtype && x.shape.size() == y.shape.size() && !x.shape.empty() &&
           std::equal(x.shape.begin() + 1, x.shape.end(), y.shape.begin() + 1);
  });
}

std::string described(const std::vector<Port>& ports) {
  std::string text;
  for (const Port& port : ports)
    text +=
        fmt::format("{}'{}' {} {}", text.empty() ? "" : ", ", port.name, name_of(port.dtype), to_string(port.shape));
  return text;
}

Engine open_part(const PlanSet& set, const PlanSet::Part& part, const std::string& path, const OpenOptions& options,
                 const Log& log) {
  const std::string plan = part_path(path, part);
  try {
    if (read_sidecar(plan).plan_sha256 != part.plan_sha256)
      refuse_set(set, path, fmt::format("its plan '{}' is not the one that was built for it", part.file));
    return open_engine(plan, options, log);
  } catch (const Error& error) {
    if (error.subject() == path) throw;
    const std::string cause = fmt::format("its plan '{}': {}", part.file, error.cause());
    // Building the part alone would leave the set with a plan that is not its own. Other advice is as good here.
    if (error.hint().empty() || error.hint().find("`ferry build ") != std::string::npos) refuse_set(set, path, cause);
    throw Error(Stage::kOpen, path, cause, error.hint());
  }
}

void check_fit(const PlanSet& set, const PlanSet::Part& part, const std::string& path, const EngineInfo& first,
               const EngineInfo& info) {
  for (const auto& [own, other] : {std::pair(&info.inputs, &first.inputs), std::pair(&info.outputs, &first.outputs)})
    if (!same_ports(*own, *other))
      refuse_set(set, path,
                 fmt::format("its plan '{}' has other inputs or outputs than the first: {} in place of {}", part.file,
                             described(*own), described(*other)));
  for (const BatchProfile& p : part.profiles)
    for (const std::int64_t batch : {p.min, p.max})
      if (!info.profiles.empty() && !in_profiles(info.profiles, batch))
        refuse_set(set, path, fmt::format("its plan '{}' does not take a batch of {}", part.file, batch));
}

// What is true of all is true of the set.
void add_member(RoutedEngine& engine, const PlanSet::Part& part, const Engine& member) {
  EngineInfo& all = engine.info;
  const EngineInfo& one = member.info();
  if (engine.members.empty()) {
    all = one;
    all.profiles.clear();
    all.max_batch = 0;
    for (std::vector<Port>* ports : {&all.inputs, &all.outputs})
      for (Port& port : *ports)
        if (!port.shape.empty()) port.shape[0] = -1;
  } else {
    all.backend_display_name += " + " + one.backend_display_name;
    all.sdk_version += " + " + one.sdk_version;
    all.device_memory_bytes += one.device_memory_bytes;
    all.resident = all.resident && one.resident;
    all.images = all.images && one.images;
    all.precision_proof_json.clear();  // each has its own
  }
  all.backend = "set";
  all.parts.push_back({part.profiles, one.backend, one.backend_display_name, one.sdk_version});
  all.profiles.insert(all.profiles.end(), part.profiles.begin(), part.profiles.end());
  for (const BatchProfile& p : part.profiles) all.max_batch = std::max(*all.max_batch, p.max);
  engine.members.push_back(Engine::Impl::of(member));
}

}  // namespace

const EnginePart* EngineInfo::part_for(std::int64_t batch) const {
  for (const EnginePart& part : parts)
    if (in_profiles(part.profiles, batch)) return &part;
  return nullptr;
}

Engine open_plan_set(const std::string& path, const OpenOptions& options, const Log& log) {
  const PlanSet set = read_plan_set(path);
  const auto engine = std::make_shared<RoutedEngine>();
  for (const PlanSet::Part& part : set.parts) {
    const Engine member = open_part(set, part, path, options, log);
    check_fit(set, part, path, engine->members.empty() ? member.info() : engine->info, member.info());
    add_member(*engine, part, member);
  }
  std::sort(engine->info.profiles.begin(), engine->info.profiles.end(),
            [](const BatchProfile& a, const BatchProfile& b) { return a.min < b.min; });
  return Engine(engine);
}

}  // namespace ferry
