// Building with every engine, measuring them, and keeping the plan of the winner for each batch.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>

#include "base/files.h"
#include "engine/open_plan_set.h"
#include "engine/plan_set_command.h"
#include "engine/probe.h"
#include "ferry/compare.h"
#include "ferry/error.h"
#include "ferry/report.h"

namespace ferry {
namespace {

constexpr double kNoise = 0.01;  // an engine this little faster is not faster

// An engine that was built, and a session of it.
struct Candidate {
  BackendInfo info;
  BuildRequest request;  // that built it: asked again with another place, it is a copy out of the cache
  BuildOutcome built;
  Engine engine;
  Session session;
};

// One candidate at one batch: memory that its runs use.
class Entrant {
 public:
  Entrant(Candidate& candidate, const Tensor& input) : candidate_(candidate), batch_(input.shape()[0]) {
    outputs_ = candidate.session.run(std::vector<TensorView>{input.view()});  // checks what it is given
    in_ = {input.data()};
    for (Tensor& output : outputs_) out_.push_back(output.data());
  }
  RunRecord run(bool resident) {
    using Clock = std::chrono::steady_clock;
    RunRecord record;
    const Clock::time_point begin = Clock::now();
    candidate_.session.submit(batch_, in_, out_, resident);
    candidate_.session.wait(&record.times);
    record.wall_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    return record;
  }
  Tensor scores() const { return convert(outputs_.front().view(), DType::kFloat32); }
  Candidate& candidate() const noexcept { return candidate_; }

 private:
  Candidate& candidate_;
  std::int64_t batch_;
  std::vector<Tensor> outputs_;
  std::vector<const std::byte*> in_;
  std::vector<std::byte*> out_;
};

// Why `who` is left out; that it is about `who` is said already.
std::string one_line(const Error& error, const std::string& who) {
  const bool named = error.subject().empty() || error.subject() == who;
  std::string text = named ? error.cause() : error.subject() + ": " + error.cause();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

bool ends_all(const Error& error) { return error.stage() == Stage::kInterrupted || error.stage() == Stage::kUsage; }

// {1, 4, 8} -> 1:1:1, 2:4:4, 5:8:8, as far as the engine goes.
std::vector<BatchProfile> profiles_up_to(const std::vector<std::int64_t>& batches, std::optional<std::int64_t> most) {
  std::vector<BatchProfile> profiles;
  std::int64_t from = 1;
  for (const std::int64_t batch : batches) {
    if (most && batch > *most) break;
    profiles.push_back({from, batch, batch});
    from = batch + 1;
  }
  return profiles;
}

std::vector<BackendInfo> builders(const std::vector<std::string>& names) {
  std::vector<BackendInfo> all;
  if (names.empty()) {
    for (BackendInfo& info : Backend::list())
      if (info.builds) all.push_back(std::move(info));
    return all;
  }
  all.reserve(names.size());
  for (const std::string& name : names) all.push_back(Backend::load(name).info());
  return all;
}

class SetBuilder {
 public:
  explicit SetBuilder(const PlanSetRequest& request) : request_(request) {
    batches_ = request.batches;
    std::sort(batches_.begin(), batches_.end());
    batches_.erase(std::unique(batches_.begin(), batches_.end()), batches_.end());
    check_request();
  }

  PlanSetOutcome build() {
    for (const BackendInfo& info : builders(request_.backends)) add(info);
    if (candidates_.empty())
      throw Error(Stage::kBuild, request_.build.plan_path, "no engine could be built: " + reasons(),
                  "`ferry doctor` says what is missing and how to get it.");
    for (const std::int64_t batch : batches_) measure_batch(batch);
    choose();
    write();
    return std::move(outcome_);
  }

 private:
  void check_request() const {
    if (request_.build.plan_path.empty())
      throw Error(Stage::kUsage, "plan set", "it needs a name of its own", "Say where it goes: -o net.plan");
    if (!request_.build.options.target.empty())
      throw Error(Stage::kUsage, "--target", "engines are chosen by measuring them, which needs the GPU itself",
                  "Build for another GPU with one --backend.");
    if (batches_.empty() || batches_.front() < 1)
      throw Error(Stage::kUsage, "batches", "a plan set is for one batch size or several, each at least 1");
  }

  void leave_out(const std::string& who, const std::string& why) {
    outcome_.set.left_out.push_back(who + ": " + why);
    if (request_.build.log) request_.build.log(1, who + " is left out: " + why);
  }

  std::string reasons() const {
    std::string text;
    for (const std::string& line : outcome_.set.left_out) text += (text.empty() ? "" : "; ") + line;
    return text.empty() ? "there is none" : text;
  }

  // Into the cache: only winners get a place beside the set.
  void add(const BackendInfo& info) {
    if (!info.usable) return leave_out(info.display_name, info.reason);
    BuildRequest build = request_.build;
    build.backend = info.name;
    build.plan_path.clear();
    build.options.profiles = profiles_up_to(batches_, info.max_batch);
    if (build.options.profiles.empty())
      return leave_out(info.display_name, fmt::format("it takes batches of at most {}", *info.max_batch));
    try {
      if (build.progress) build.progress("building with " + info.display_name, 0, 0);
      BuildOutcome built = build_engine(build);
      OpenOptions opening;
      opening.device = build.options.device;
      Engine engine = open_engine(built.plan_path, opening, build.log);
      Session session = engine.new_session();
      outcome_.cautions.insert(outcome_.cautions.end(), built.cautions.begin(), built.cautions.end());
      outcome_.builds.push_back(built);
      candidates_.push_back({info, build, std::move(built), std::move(engine), std::move(session)});
    } catch (const Error& error) {
      if (ends_all(error)) throw;
      leave_out(info.display_name, one_line(error, info.display_name));
    }
  }

  // Whoever takes this batch and answers as the first does.
  std::vector<Entrant> entrants_for(const Tensor& input) {
    std::vector<Entrant> entrants;
    entrants.reserve(candidates_.size());
    const std::int64_t batch = input.shape()[0];
    for (Candidate& candidate : candidates_) {
      const std::string who = fmt::format("{} at batch {}", candidate.info.display_name, batch);
      const std::vector<BatchProfile>& takes = candidate.request.options.profiles;
      if (batch > takes.back().max) continue;  // said once, as its limit
      try {
        Entrant entrant(candidate, input);
        if (const std::string why = disagreement(entrants, entrant); !why.empty()) {
          leave_out(who, why);
          continue;
        }
        entrants.push_back(std::move(entrant));
      } catch (const Error& error) {
        if (ends_all(error)) throw;
        leave_out(who, one_line(error, candidate.info.display_name));
      }
    }
    return entrants;
  }

  // Each plan has answered its probe, but that is one picture: a batch is judged by the engine that comes first.
  std::string disagreement(const std::vector<Entrant>& before, const Entrant& entrant) const {
    const std::string& precision = entrant.candidate().built.sidecar.precision;
    Tolerance tolerance = tolerance_for(precision);
    tolerance.relative_error *= 2;  // both may be off, in opposite directions
    const Tensor scores = entrant.scores();
    const Tensor expected = before.empty() ? entrant.scores() : before.front().scores();
    const Agreement agreement = compare_outputs(scores.view(), expected.view(), tolerance);
    if (agreement.ok) return {};
    if (before.empty()) return "its answer is not usable: " + agreement.failure;
    return fmt::format("it does not answer as {} does: {}", before.front().candidate().info.display_name,
                       agreement.failure);
  }

  Tensor input_for(std::int64_t batch) const {
    Probe question;
    question.batch = batch;
    return probe_input(candidates_.front().engine.info().inputs.at(0), question);
  }

  void measure_batch(std::int64_t batch) {
    const Tensor input = input_for(batch);
    std::vector<Entrant> entrants = entrants_for(input);
    if (entrants.empty()) throw Error(Stage::kBuild, fmt::format("batch {}", batch), "no engine runs it: " + reasons());
    const auto timed_alone = [](const Entrant& e) { return e.candidate().engine.info().resident; };
    const bool resident = std::all_of(entrants.begin(), entrants.end(), timed_alone);  // else by what all can show
    std::vector<Competitor> competitors;
    for (Entrant& entrant : entrants) {
      Competitor& c = competitors.emplace_back();
      c.name = entrant.candidate().info.display_name;
      c.precision = entrant.candidate().built.sidecar.precision;
      c.batch = batch;
      c.has_resident = resident;
      c.run = [&entrant](bool alone) { return entrant.run(alone); };
    }
    const std::vector<Measurement> results = measure(competitors, request_.measure, request_.build.progress);
    for (std::size_t i = 0; i < entrants.size(); ++i) {
      const Statistics& timed = results[i].timed_statistics();
      const BackendInfo& info = entrants[i].candidate().info;
      outcome_.set.measured.push_back(
          {batch, info.name, info.display_name, timed.median, timed.p99, results[i].timed, false});
    }
  }

  PlanSet::Measured* measured(std::int64_t batch, const Candidate& candidate) {
    for (PlanSet::Measured& m : outcome_.set.measured)
      if (m.batch == batch && m.backend == candidate.info.name) return &m;
    return nullptr;
  }

  void choose() {
    std::vector<std::vector<double>> medians;
    for (const std::int64_t batch : batches_) {
      std::vector<double>& row = medians.emplace_back();
      for (const Candidate& candidate : candidates_) {
        const PlanSet::Measured* m = measured(batch, candidate);
        row.push_back(m == nullptr ? std::numeric_limits<double>::quiet_NaN() : m->median_ms);
      }
    }
    winners_ = fastest(medians, kNoise);
    for (std::size_t i = 0; i < batches_.size(); ++i) measured(batches_[i], candidates_[winners_[i]])->chosen = true;
  }

  // A batch between two that were asked for goes where the larger of them goes.
  std::vector<BatchProfile> won_by(std::size_t candidate) const {
    const std::vector<BatchProfile> all = profiles_up_to(batches_, std::nullopt);
    std::vector<BatchProfile> won;
    for (std::size_t i = 0; i < all.size(); ++i)
      if (winners_[i] == candidate) won.push_back(all[i]);
    return won;
  }

  void write() {
    PlanSet& set = outcome_.set;
    const std::string& path = request_.build.plan_path;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      const Candidate& candidate = candidates_[i];
      PlanSet::Part part{part_file(path, candidate.info.name), "", candidate.info.name, candidate.info.display_name,
                         won_by(i)};
      if (part.profiles.empty()) continue;
      BuildRequest build = candidate.request;
      build.plan_path = part_path(path, part);
      build.force = false;
      part.plan_sha256 = build_engine(build).sidecar.plan_sha256;
      set.parts.push_back(std::move(part));
    }
    set.backends = request_.backends;
    set.batches = batches_;
    set.onnx_path = std::filesystem::absolute(request_.build.onnx_path).lexically_normal().string();
    set.gpu = candidates_.front().built.sidecar.gpu;
    set.built_at = timestamp();
    set.ferry_version = FERRY_VERSION;
    keep(path, set);
    std::error_code ignored;
    std::filesystem::remove(sidecar_path(path), ignored);  // of a single plan that had this name before
  }

  // Opened before it gets its name: what cannot be opened is not kept.
  void keep(const std::string& path, const PlanSet& set) const {
    AtomicFile file(path, Stage::kBuild);
    file.write(to_json(set));
    file.flush();
    OpenOptions opening;
    opening.device = request_.build.options.device;
    try {
      open_plan_set(file.temporary_path(), opening, request_.build.log);
    } catch (const Error& error) {
      throw Error(Stage::kBuild, path, "the set that was built cannot be opened: " + error.cause(), "");
    }
    file.commit();
  }

  const PlanSetRequest& request_;
  std::vector<std::int64_t> batches_;
  std::vector<Candidate> candidates_;
  std::vector<std::size_t> winners_;  // of each batch, in `candidates_`
  PlanSetOutcome outcome_;
};

}  // namespace

std::vector<std::size_t> fastest(const std::vector<std::vector<double>>& medians, double noise) {
  std::vector<std::size_t> winners;
  for (const std::vector<double>& row : medians) {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (!std::isfinite(row[i])) continue;
      if (!best || row[i] < row[*best] * (1 - noise)) best = i;
    }
    if (!best) throw Error(Stage::kBuild, "batch", "no engine runs it");
    winners.push_back(*best);
  }
  return winners;
}

PlanSetOutcome build_plan_set(const PlanSetRequest& request) { return SetBuilder(request).build(); }

}  // namespace ferry
