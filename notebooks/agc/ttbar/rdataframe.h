// What the ttbar analysis needs beside RDataFrame's own expressions: the same numbers as
// agc/ttbar/smearing.py, agc/ttbar/momenta.py and agc/hists/fill.py compute, to the last
// bit. Energies in GeV.
#ifndef AGC_TTBAR_RDATAFRAME_H
#define AGC_TTBAR_RDATAFRAME_H

#include <ROOT/RVec.hxx>

#include <cmath>
#include <cstdint>

// a product and a sum are two roundings, as numpy has them
#pragma STDC FP_CONTRACT OFF

namespace agc {

using ROOT::RVec, ROOT::RVecD, ROOT::RVecI;

// Philox4x32-10 of Salmon et al., SC11 (2011), doi:10.1145/2063384.2063405: the normal
// random number of the jet at a position in its event, before any selection.
inline double standard_normal(std::uint64_t run, std::uint64_t lumi, std::uint64_t event,
                              std::uint64_t jet)
{
   constexpr std::uint64_t mask = 0xFFFFFFFF, stream = 0x4A4552; // "JER"
   std::uint64_t x[4] = {jet, event & mask, event >> 32, lumi};
   std::uint64_t key[2] = {run, stream};
   for (int round = 0; round < 10; ++round) {
      const std::uint64_t a = 0xD2511F53 * x[0], b = 0xCD9E8D57 * x[2];
      const std::uint64_t next[4] = {(b >> 32) ^ x[1] ^ key[0], b & mask,
                                     (a >> 32) ^ x[3] ^ key[1], a & mask};
      for (int i = 0; i < 4; ++i)
         x[i] = next[i];
      key[0] = (key[0] + 0x9E3779B9) & mask;
      key[1] = (key[1] + 0xBB67AE85) & mask;
   }
   const double scale = 0x1p-53, pi = 3.141592653589793;
   const double u = ((x[0] >> 5) * 67108864.0 + (x[1] >> 6) + 1) * scale;
   const double v = ((x[2] >> 5) * 67108864.0 + (x[3] >> 6)) * scale;
   return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * pi * v);
}

// The jets' pt with the energy scale up, and smeared by the resolution.
template <class Pt>
RVec<RVecD> varied_pt(const RVec<Pt> &pt, std::uint64_t run, std::uint64_t lumi,
                      std::uint64_t event)
{
   RVecD scaled(pt.size()), smeared(pt.size());
   for (std::size_t i = 0; i < pt.size(); ++i) {
      scaled[i] = pt[i] * Pt(1.03);
      smeared[i] = pt[i] * (1 + 0.05 * standard_normal(run, lumi, event, i));
   }
   return {scaled, smeared};
}

// The mass of the three jets with the largest pt of their vector sum, one of them tagged.
template <class T>
double trijet_mass(const RVecD &pt, const RVec<T> &eta, const RVec<T> &phi,
                   const RVec<T> &mass, const RVecI &tagged)
{
   const auto n = pt.size();
   RVecD px(n), py(n), pz(n), energy(n);
   for (std::size_t i = 0; i < n; ++i) {
      px[i] = pt[i] * std::cos(double(phi[i]));
      py[i] = pt[i] * std::sin(double(phi[i]));
      pz[i] = pt[i] * std::sinh(double(eta[i]));
      energy[i] = std::sqrt(px[i] * px[i] + py[i] * py[i] + pz[i] * pz[i] +
                            double(mass[i]) * double(mass[i]));
   }
   double best = -1, mass2 = 0;
   for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = i + 1; j < n; ++j)
         for (std::size_t k = j + 1; k < n; ++k) {
            if (!(tagged[i] || tagged[j] || tagged[k]))
               continue;
            const double x = px[i] + px[j] + px[k], y = py[i] + py[j] + py[k];
            const double z = pz[i] + pz[j] + pz[k];
            const double e = energy[i] + energy[j] + energy[k];
            if (x * x + y * y > best) {
               best = x * x + y * y;
               mass2 = (e * e - (x * x + y * y)) - z * z;
            }
         }
   return std::copysign(std::sqrt(std::abs(mass2)), mass2);
}

// Weights in steps of 2^-24, of which sums are exact: no order of events changes them.
inline double in_steps(double weight)
{
   return std::floor(weight * 0x1p24 + 0.5) / 0x1p24;
}

// Up and down, for each of the four leading jets: more or fewer of them are b-tagged.
inline RVecD btag_weights(const RVecD &pt)
{
   RVecD weights;
   for (int i = 0; i < 4; ++i)
      for (int sign : {1, -1})
         weights.push_back(in_steps(1 + sign * (0.075 * pt[i] / 50)));
   return weights;
}

} // namespace agc

#endif
