//! Multiple correlation: how well the histories of all other vms explain one vm's.
//!
//! Used by the selection rule `mc`. Ordinary least squares with an intercept, by Householder reflections (G. H. Golub,
//! *Numerical methods for solving linear least squares problems*, 1965), newest observation first: the faithful
//! benchmark depends on the order of the sums.

/// Index of the history that the others explain best, the first of equals; `None` where the histories are too short for
/// that or leave the fit undetermined. Only the newest values that all have are compared.
pub(super) fn most_explained(histories: &[&[f64]]) -> Option<usize> {
    let observations = histories.iter().map(|history| history.len()).min()?;
    if histories.len() < 2 || histories.len() > observations {
        return None;
    }
    let newest: Vec<Vec<f64>> =
        histories.iter().map(|history| history.iter().rev().take(observations).copied().collect()).collect();
    let mut best = (f64::MIN_POSITIVE, 0);
    for index in 0..newest.len() {
        let share = explained(&newest, index)?;
        if share > best.0 {
            best = (share, index);
        }
    }
    Some(best.1)
}

/// Share of the variance of one column that the others explain; `None` where the fit is undetermined, not a number where
/// there is no variance.
fn explained(columns: &[Vec<f64>], index: usize) -> Option<f64> {
    let target = &columns[index];
    let others = columns.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, column)| column.clone());
    let design: Vec<Vec<f64>> = std::iter::once(vec![1.0; target.len()]).chain(others).collect();
    let coefficients = Reflections::of(design.clone()).solve(target)?;
    let fitted = |row: usize| design.iter().zip(&coefficients).fold(0.0, |sum, (column, b)| sum + column[row] * b);
    let residual: f64 =
        (0..target.len()).map(|row| (target[row] - fitted(row)).powi(2)).fold(0.0, |sum, one| sum + one);
    Some(1.0 - residual / squares(target))
}

/// Sum of squared distances from the mean, by Welford's running mean.
fn squares(values: &[f64]) -> f64 {
    let (mut mean, mut sum, mut seen) = (0.0, 0.0, 0.0);
    for value in values {
        seen += 1.0;
        let distance = value - mean;
        let step = distance / seen;
        mean += step;
        sum += (seen - 1.0) * distance * step;
    }
    sum
}

/// A matrix as a product of reflections and a triangle.
struct Reflections {
    /// Column by column: the reflections' vectors below the diagonal, the triangle above it.
    columns: Vec<Vec<f64>>,
    diagonal: Vec<f64>,
}

impl Reflections {
    fn of(mut columns: Vec<Vec<f64>>) -> Self {
        let mut diagonal = vec![0.0; columns.len()];
        for minor in 0..columns.len() {
            let (done, rest) = columns.split_at_mut(minor + 1);
            diagonal[minor] = reflect(&mut done[minor], rest, minor);
        }
        Self { columns, diagonal }
    }

    fn solve(&self, target: &[f64]) -> Option<Vec<f64>> {
        if self.diagonal.contains(&0.0) {
            return None;
        }
        let mut y = target.to_vec();
        for (minor, (column, diagonal)) in self.columns.iter().zip(&self.diagonal).enumerate() {
            let dot: f64 = y[minor..].iter().zip(&column[minor..]).fold(0.0, |sum, (a, b)| sum + a * b);
            let dot = dot / (diagonal * column[minor]);
            y[minor..].iter_mut().zip(&column[minor..]).for_each(|(value, reflected)| *value += dot * reflected);
        }
        let mut solution = vec![0.0; self.columns.len()];
        for row in (0..solution.len()).rev() {
            y[row] /= self.diagonal[row];
            solution[row] = y[row];
            let value = y[row];
            y[..row].iter_mut().zip(&self.columns[row]).for_each(|(left, above)| *left -= value * above);
        }
        Some(solution)
    }
}

/// Reflects `column` onto its axis and the columns after it along with it; what comes on the diagonal.
fn reflect(column: &mut [f64], rest: &mut [Vec<f64>], minor: usize) -> f64 {
    let norm = column[minor..].iter().fold(0.0, |sum, value| sum + value * value).sqrt();
    let diagonal = if column[minor] > 0.0 { -norm } else { norm };
    if diagonal == 0.0 {
        return 0.0;
    }
    column[minor] -= diagonal;
    for other in rest {
        let dot = other[minor..].iter().zip(&column[minor..]).fold(0.0, |sum, (a, b)| sum - a * b);
        let share = dot / (diagonal * column[minor]);
        other[minor..].iter_mut().zip(&column[minor..]).for_each(|(value, reflected)| *value -= share * reflected);
    }
    diagonal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_columns_give_the_squared_correlation() {
        // Correlation of 1 2 3 4 with 1 3 2 4 is 0.8.
        let columns = [vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 3.0, 2.0, 4.0]];
        assert!((explained(&columns, 0).unwrap() - 0.64).abs() < 1e-12);
    }

    #[test]
    fn the_sum_of_two_is_explained_best_by_them() {
        let (a, b) = ([0.1, 0.9, 0.4, 0.3, 0.8, 0.2], [0.5, 0.5, 0.1, 0.9, 0.2, 0.3]);
        let noise = [0.01, -0.02, 0.0, 0.02, -0.01, 0.0];
        let sum: Vec<f64> = a.iter().zip(&b).zip(&noise).map(|((a, b), noise)| 2.0 * a + b + noise).collect();
        let other = [0.3, 0.1, 0.2, 0.9, 0.7, 0.1];
        assert_eq!(most_explained(&[&other, &a, &b, &sum]), Some(3));
    }

    #[test]
    fn what_cannot_be_fitted_is_said_so() {
        let (a, b) = ([0.1, 0.2, 0.3], [0.3, 0.2, 0.2]);
        assert_eq!(most_explained(&[&a]), None, "nobody to explain it");
        assert_eq!(most_explained(&[&a[..1], &b]), None, "too short");
        assert_eq!(most_explained(&[&a, &[0.0; 3]]), None, "a column of zeros");
    }
}
